//! The devices of a job, by number: in `/dev`, and in the program that the
//! kernel asks before anything in the job's cgroup opens or makes a node.

/// The device nodes a job gets: name, major, minor of `Documentation/admin-guide/devices.txt`.
pub(crate) const DEVICES: [(&str, u32, u32); 5] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9)];

/// One instruction of `linux/bpf.h`: operation, registers, jump, value.
const fn instruction(code: u8, target: u8, source: u8, offset: u8, value: u32) -> u64 {
    u64::from_le_bytes({
        let [a, b, c, d] = value.to_le_bytes();
        [code, source << 4 | target, offset, 0, a, b, c, d]
    })
}

/// `r2 = *(u32 *)(r1 + offset)`: a member of `struct bpf_cgroup_dev_ctx`.
const fn load(offset: u8) -> u64 {
    instruction(0x61, 2, 1, offset, 0)
}

/// `if r2 == value goto +offset`.
const fn jump_if(value: u32, offset: u8) -> u64 {
    instruction(0x15, 2, 0, offset, value)
}

/// `if r2 != value goto +offset`.
const fn jump_unless(value: u32, offset: u8) -> u64 {
    instruction(0x55, 2, 0, offset, value)
}

/// `r0 = value`.
const fn set_answer(value: u32) -> u64 {
    instruction(0xb7, 0, 0, 0, value)
}

const EXIT: u64 = instruction(0x95, 0, 0, 0, 0);

/// Allows the devices above, and nothing else.
pub(crate) fn program() -> Vec<u64> {
    let count = u8::try_from(DEVICES.len()).unwrap_or(u8::MAX);
    let mut code = vec![
        // The low half of the access type is the kind: 2 is a character device.
        load(0),
        instruction(0x57, 2, 0, 0, 0xffff),
        jump_unless(2, count.saturating_add(3)),
        // All of them have one major number.
        load(4),
        jump_unless(1, count.saturating_add(1)),
        load(8),
    ];
    for (left, (_, _, minor)) in (2..=count.saturating_add(1)).rev().zip(DEVICES) {
        code.push(jump_if(minor, left));
    }
    code.extend([set_answer(0), EXIT, set_answer(1), EXIT]);
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program answers, by the rules of `Documentation/bpf/standardization`.
    fn run(access: u32, major: u32, minor: u32) -> u64 {
        let program = program();
        let (mut at, mut registers) = (0usize, [0u64; 3]);
        for _ in 0..100 {
            let [code, reg, offset, _, a, b, c, d] = program[at].to_le_bytes();
            let value = u64::from(u32::from_le_bytes([a, b, c, d]));
            let target = usize::from(reg & 0xf);
            at += 1;
            match code {
                0x61 => registers[target] = u64::from([access, major, minor][usize::from(offset) / 4]),
                0x57 => registers[target] &= value,
                0x15 if registers[target] == value => at += usize::from(offset),
                0x55 if registers[target] != value => at += usize::from(offset),
                0x15 | 0x55 => {}
                0xb7 => registers[target] = value,
                0x95 => return registers[0],
                other => panic!("{other:#x}"),
            }
        }
        panic!("endless");
    }

    #[test]
    fn exactly_the_listed_devices() {
        let (block, character) = (1, 2);
        // Any of mknod, read and write is 1, 2 and 4 in the upper half.
        for access in [1 << 16, 2 << 16, 6 << 16] {
            for major in 0..12 {
                for minor in 0..12 {
                    let listed = DEVICES.iter().any(|d| (d.1, d.2) == (major, minor));
                    assert_eq!(run(access | character, major, minor), u64::from(listed), "{major}:{minor}");
                    assert_eq!(run(access | block, major, minor), 0);
                }
            }
        }
        assert!(DEVICES.iter().all(|d| d.1 == 1), "the program asks for one major number");
    }
}
