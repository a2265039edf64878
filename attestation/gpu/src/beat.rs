//! One GPU's line in a beat, and its compact encoding.
//!
//! A beat of eight GPUs has to stay under 550 bytes, so the line is an array of ten unsigned integers
//! instead of a map: 38 bytes for a busy data-centre GPU. Its second element says which values are
//! absent; an absent value is encoded as 0 and as nothing else, so each line has exactly one encoding.

use minicbor::decode::{Decode, Decoder, Error};
use minicbor::encode::{self, Encode, Encoder, Write};
use serde::{Deserialize, Serialize};

/// Elements of the encoded array.
const ELEMENTS: u64 = 10;
/// Bits of the second element that say what happened; the bits above say what is absent.
const STATE_BITS: u16 = 0xff;
const NO_ENERGY: u16 = 1 << 8;
const NO_UTILIZATION: u16 = 1 << 9;
const NO_MEMORY: u16 = 1 << 10;
const NO_POWER: u16 = 1 << 11;
const NO_TEMPERATURE: u16 = 1 << 12;
const NO_PCIE: u16 = 1 << 13;
const ABSENT_BITS: u16 = NO_ENERGY | NO_UTILIZATION | NO_MEMORY | NO_POWER | NO_TEMPERATURE | NO_PCIE;

/// What happened to a GPU since the beat before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Flags {
    /// The driver said that the device is gone from the bus.
    pub lost: bool,
    /// No sample held any value: the library hung, died or was not there.
    pub no_data: bool,
    /// The energy counter started again from zero, as it does when the driver is reloaded.
    pub counter_reset: bool,
    /// At least one value was impossible and was thrown away.
    pub implausible: bool,
}

impl Flags {
    const ALL: u16 = 0x0f;

    fn bits(self) -> u16 {
        u16::from(self.lost)
            | u16::from(self.no_data) << 1
            | u16::from(self.counter_reset) << 2
            | u16::from(self.implausible) << 3
    }

    fn from_bits(bits: u16) -> Option<Self> {
        (bits & !Self::ALL == 0).then_some(Self {
            lost: bits & 1 != 0,
            no_data: bits & 2 != 0,
            counter_reset: bits & 4 != 0,
            implausible: bits & 8 != 0,
        })
    }
}

/// The energy counter over one interval, in millijoules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Energy {
    /// The device's counter at the interval's end.
    pub end_mj: u64,
    /// Energy used in the interval.
    pub delta_mj: u64,
}

/// PCIe traffic since the session opened, in MiB.
///
/// The device's own counters may wrap, so the node adds up the differences between samples; traffic
/// between a wrap and the sample after it is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pcie {
    /// Received by the GPU.
    pub rx_mib: u64,
    /// Sent by the GPU.
    pub tx_mib: u64,
}

/// One GPU's line in a beat. CDDL: `gpu-beat` in `gpu.cddl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuBeat {
    /// Index in the session's GPU table.
    pub index: u8,
    /// What happened since the beat before.
    pub flags: Flags,
    /// Energy counter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy: Option<Energy>,
    /// Mean utilization, 0 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilization_per_mille: Option<u16>,
    /// Largest share of the memory in use, 0 to 1000 of [`crate::GpuIdentity::memory_mib`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_per_mille: Option<u16>,
    /// Mean power, in watts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_w: Option<u16>,
    /// Last temperature, in degrees Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<u8>,
    /// PCIe traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcie: Option<Pcie>,
}

impl GpuBeat {
    /// A line without any value.
    #[must_use]
    pub fn empty(index: u8, flags: Flags) -> Self {
        Self {
            index,
            flags,
            energy: None,
            utilization_per_mille: None,
            memory_per_mille: None,
            power_w: None,
            temperature_c: None,
            pcie: None,
        }
    }

    /// Largest amount of memory in use, in MiB, for a device of `memory_mib`; exact to a thousandth.
    #[must_use]
    pub fn memory_used_mib(&self, memory_mib: u32) -> Option<u32> {
        let used = u64::from(self.memory_per_mille?) * u64::from(memory_mib) / 1000;
        u32::try_from(used).ok()
    }

    fn absent(&self) -> u16 {
        let bit = |absent: bool, bit: u16| if absent { bit } else { 0 };
        bit(self.energy.is_none(), NO_ENERGY)
            | bit(self.utilization_per_mille.is_none(), NO_UTILIZATION)
            | bit(self.memory_per_mille.is_none(), NO_MEMORY)
            | bit(self.power_w.is_none(), NO_POWER)
            | bit(self.temperature_c.is_none(), NO_TEMPERATURE)
            | bit(self.pcie.is_none(), NO_PCIE)
    }
}

impl<C> Encode<C> for GpuBeat {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        let energy = self.energy.unwrap_or(Energy { end_mj: 0, delta_mj: 0 });
        let pcie = self.pcie.unwrap_or(Pcie { rx_mib: 0, tx_mib: 0 });
        e.array(ELEMENTS)?
            .u8(self.index)?
            .u16(self.flags.bits() | self.absent())?
            .u64(energy.end_mj)?
            .u64(energy.delta_mj)?
            .u16(self.utilization_per_mille.unwrap_or(0))?
            .u16(self.memory_per_mille.unwrap_or(0))?
            .u16(self.power_w.unwrap_or(0))?
            .u8(self.temperature_c.unwrap_or(0))?
            .u64(pcie.rx_mib)?
            .u64(pcie.tx_mib)?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for GpuBeat {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, Error> {
        let start = d.position();
        if d.array()? != Some(ELEMENTS) {
            return Err(Error::message("gpu-beat: not an array of 10").at(start));
        }
        let index = d.u8()?;
        let (flags, absent) = decode_flags(d)?;
        let line = Line { absent };
        let (end_mj, delta_mj) = (line.value(d, NO_ENERGY)?, line.value(d, NO_ENERGY)?);
        let utilization_per_mille = line.gauge(d, NO_UTILIZATION, 1000)?;
        let memory_per_mille = line.gauge(d, NO_MEMORY, 1000)?;
        let power_w = line.gauge(d, NO_POWER, u16::MAX)?;
        let temperature_c = line.gauge(d, NO_TEMPERATURE, u16::from(u8::MAX))?;
        let (rx_mib, tx_mib) = (line.value(d, NO_PCIE)?, line.value(d, NO_PCIE)?);
        Ok(Self {
            index,
            flags,
            energy: line.present(NO_ENERGY).then_some(Energy { end_mj, delta_mj }),
            utilization_per_mille,
            memory_per_mille,
            power_w,
            temperature_c: temperature_c.and_then(|c| u8::try_from(c).ok()),
            pcie: line.present(NO_PCIE).then_some(Pcie { rx_mib, tx_mib }),
        })
    }
}

fn decode_flags(d: &mut Decoder<'_>) -> Result<(Flags, u16), Error> {
    let at = d.position();
    let bits = d.u16()?;
    let absent = bits & !STATE_BITS;
    let flags = Flags::from_bits(bits & STATE_BITS).filter(|_| absent & !ABSENT_BITS == 0);
    flags.map(|flags| (flags, absent)).ok_or_else(|| Error::message("gpu-beat: unknown flag").at(at))
}

/// Reads the values of one line, holding the absent ones to zero.
struct Line {
    absent: u16,
}

impl Line {
    fn present(&self, bit: u16) -> bool {
        self.absent & bit == 0
    }

    fn value(&self, d: &mut Decoder<'_>, bit: u16) -> Result<u64, Error> {
        let at = d.position();
        let value = d.u64()?;
        if !self.present(bit) && value != 0 {
            return Err(Error::message("gpu-beat: a value that is said to be absent").at(at));
        }
        Ok(value)
    }

    fn gauge(&self, d: &mut Decoder<'_>, bit: u16, max: u16) -> Result<Option<u16>, Error> {
        let at = d.position();
        let value = self.value(d, bit)?;
        let value = u16::try_from(value).ok().filter(|v| *v <= max);
        let value = value.ok_or_else(|| Error::message("gpu-beat: value out of range").at(at))?;
        Ok(self.present(bit).then_some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn busy() -> GpuBeat {
        GpuBeat {
            index: 7,
            flags: Flags::default(),
            energy: Some(Energy { end_mj: 1_814_400_000_000, delta_mj: 41_230_117 }),
            utilization_per_mille: Some(987),
            memory_per_mille: Some(934),
            power_w: Some(687),
            temperature_c: Some(71),
            pcie: Some(Pcie { rx_mib: 18_441_234, tx_mib: 7_441_234 }),
        }
    }

    fn beat() -> impl Strategy<Value = GpuBeat> {
        let energy = prop::option::of((any::<u64>(), any::<u64>()));
        let pcie = prop::option::of((any::<u64>(), any::<u64>()));
        let gauge = || prop::option::of(0..=1000u16);
        let gauges = (gauge(), gauge(), any::<Option<u16>>(), any::<Option<u8>>());
        (any::<u8>(), 0..16u16, energy, gauges, pcie).prop_map(|(index, flags, energy, gauges, pcie)| {
            GpuBeat {
                index,
                flags: Flags::from_bits(flags).unwrap(),
                energy: energy.map(|(end_mj, delta_mj)| Energy { end_mj, delta_mj }),
                utilization_per_mille: gauges.0,
                memory_per_mille: gauges.1,
                power_w: gauges.2,
                temperature_c: gauges.3,
                pcie: pcie.map(|(rx_mib, tx_mib)| Pcie { rx_mib, tx_mib }),
            }
        })
    }

    proptest! {
        #[test]
        fn every_line_round_trips(line in beat()) {
            let bytes = minicbor::to_vec(&line).unwrap();
            prop_assert_eq!(minicbor::decode::<GpuBeat>(&bytes).unwrap(), line);
        }

        #[test]
        fn any_bytes_give_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = minicbor::decode::<GpuBeat>(&bytes);
        }

        #[test]
        fn what_decodes_from_minimal_integers_has_one_encoding(flips in prop::collection::vec((0..38usize, any::<u8>()), 1..4)) {
            let mut bytes = minicbor::to_vec(busy()).unwrap();
            for (at, value) in flips { bytes[at] = value; }
            if let Ok(line) = minicbor::decode::<GpuBeat>(&bytes) {
                // An integer in a longer form than it needs is refused a layer above.
                let again = minicbor::to_vec(&line).unwrap();
                prop_assert!(again == bytes || again.len() < bytes.len());
            }
        }
    }

    #[test]
    fn eight_busy_gpus_fit_a_beat() {
        let line = minicbor::to_vec(busy()).unwrap();
        assert_eq!(line.len(), 38);
        let lines = minicbor::to_vec(vec![busy(); 8]).unwrap();
        assert!(lines.len() <= 310, "{} bytes leave less than 240 for the rest of a beat", lines.len());
    }

    #[test]
    fn an_empty_line_is_small() {
        let line = GpuBeat::empty(0, Flags { lost: true, no_data: true, ..Flags::default() });
        assert_eq!(minicbor::to_vec(&line).unwrap(), [0x8a, 0, 0x19, 0x3f, 0x03, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn refuses_a_second_form_of_the_same_line() {
        let message = |bytes: &[u8]| minicbor::decode::<GpuBeat>(bytes).unwrap_err().to_string();
        let mut absent = minicbor::to_vec(GpuBeat::empty(0, Flags::default())).unwrap();
        *absent.last_mut().unwrap() = 1;
        assert!(message(&absent).contains("absent"));
        let unknown = [0x8a, 0, 0x18, 0x40, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(message(&unknown).contains("unknown flag"));
        let high = [0x8a, 0, 0x19, 0x80, 0x00, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(message(&high).contains("unknown flag"));
        assert!(message(&[0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0]).contains("array of 10"));
        let range = [0x8a, 0, 0, 0, 0, 0x19, 0x03, 0xe9, 0, 0, 0, 0, 0];
        assert!(message(&range).contains("out of range"));
    }

    #[test]
    fn memory_comes_back_in_mib() {
        assert_eq!(busy().memory_used_mib(81_559), Some(76_176));
        assert_eq!(GpuBeat::empty(0, Flags::default()).memory_used_mib(81_559), None);
    }
}
