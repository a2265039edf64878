//! `TPMA_OBJECT` (Part 2, 8.3): what a TPM lets its key do.

use core::ops::BitOr;

/// A key's attributes. Bits that the specification reserves can't be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Attributes(u32);

impl Attributes {
    /// `fixedTPM`: the key never leaves its TPM.
    pub const FIXED_TPM: Self = Self(1 << 1);
    /// `stClear`: saved contexts die with a TPM reset or restart.
    pub const STCLEAR: Self = Self(1 << 2);
    /// `fixedParent`: the key never moves to another parent.
    pub const FIXED_PARENT: Self = Self(1 << 4);
    /// `sensitiveDataOrigin`: the TPM made the private part itself.
    pub const SENSITIVE_DATA_ORIGIN: Self = Self(1 << 5);
    /// `userWithAuth`: use is authorised by the key's auth value or policy.
    pub const USER_WITH_AUTH: Self = Self(1 << 6);
    /// `adminWithPolicy`: administration needs the key's policy.
    pub const ADMIN_WITH_POLICY: Self = Self(1 << 7);
    /// `firmwareLimited`: bound to the TPM firmware (revision 1.84 and later).
    pub const FIRMWARE_LIMITED: Self = Self(1 << 8);
    /// `svnLimited`: bound to the TPM firmware's security version (revision 1.84 and later).
    pub const SVN_LIMITED: Self = Self(1 << 9);
    /// `noDA`: use does not count for the dictionary-attack lockout.
    pub const NO_DA: Self = Self(1 << 10);
    /// `encryptedDuplication`: duplicates leave encrypted only.
    pub const ENCRYPTED_DUPLICATION: Self = Self(1 << 11);
    /// `restricted`: a signing key signs only what the TPM made or hashed itself.
    pub const RESTRICTED: Self = Self(1 << 16);
    /// `decrypt`.
    pub const DECRYPT: Self = Self(1 << 17);
    /// `sign`.
    pub const SIGN: Self = Self(1 << 18);
    /// `x509sign`: signs with `TPM2_CertifyX509` only.
    pub const X509_SIGN: Self = Self(1 << 19);

    const DEFINED: u32 = Self::FIXED_TPM.0
        | Self::STCLEAR.0
        | Self::FIXED_PARENT.0
        | Self::SENSITIVE_DATA_ORIGIN.0
        | Self::USER_WITH_AUTH.0
        | Self::ADMIN_WITH_POLICY.0
        | Self::FIRMWARE_LIMITED.0
        | Self::SVN_LIMITED.0
        | Self::NO_DA.0
        | Self::ENCRYPTED_DUPLICATION.0
        | Self::RESTRICTED.0
        | Self::DECRYPT.0
        | Self::SIGN.0
        | Self::X509_SIGN.0;

    /// The attributes with these bits, unless a reserved one is set.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Option<Self> {
        if bits & !Self::DEFINED == 0 { Some(Self(bits)) } else { None }
    }

    /// The bits as on the wire.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These attributes and those of `other`.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These attributes without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Attributes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_bits_are_refused_one_by_one() {
        let reserved = [0, 3, 12, 13, 14, 15].into_iter().chain(20..32);
        for bit in reserved {
            assert_eq!(Attributes::from_bits(1 << bit), None, "bit {bit}");
        }
        assert!(Attributes::from_bits(Attributes::DEFINED).is_some());
    }

    #[test]
    fn contains_needs_every_bit() {
        let both = Attributes::SIGN | Attributes::RESTRICTED;
        assert!(both.contains(Attributes::SIGN));
        assert!(!Attributes::SIGN.contains(both));
        assert_eq!(both.without(Attributes::SIGN), Attributes::RESTRICTED);
    }
}
