//! Merkle roots over raw samples, in the shape of RFC 6962 2.1.

use crate::{Digest, Domain, hash};

/// The root over `leaves` in order; no leaves give the hash of an empty leaf list.
pub fn merkle_root<T: AsRef<[u8]>>(leaves: &[T]) -> Digest {
    let hashes: Vec<Digest> = leaves.iter().map(|leaf| hash(Domain::MerkleLeaf, &[leaf.as_ref()])).collect();
    root(&hashes)
}

fn root(hashes: &[Digest]) -> Digest {
    match hashes {
        [] => hash(Domain::MerkleNode, &[]),
        [one] => *one,
        more => {
            // The left subtree holds the largest power of two below the count (RFC 6962 2.1).
            let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
            hash(Domain::MerkleNode, &[&root(left).0, &root(right).0])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_count_matter() {
        let (a, b, c): (&[u8], &[u8], &[u8]) = (b"a", b"b", b"c");
        let roots = [
            merkle_root::<&[u8]>(&[]),
            merkle_root(&[a]),
            merkle_root(&[a, b]),
            merkle_root(&[b, a]),
            merkle_root(&[a, b, c]),
            merkle_root(&[a, b, c, c]),
        ];
        for (i, one) in roots.iter().enumerate() {
            assert!(roots[i + 1..].iter().all(|other| other != one));
        }
    }

    #[test]
    fn three_leaves_split_two_and_one() {
        let leaf = |b: &[u8]| hash(Domain::MerkleLeaf, &[b]);
        let left = hash(Domain::MerkleNode, &[&leaf(b"a").0, &leaf(b"b").0]);
        assert_eq!(merkle_root(&[b"a", b"b", b"c"]), hash(Domain::MerkleNode, &[&left.0, &leaf(b"c").0]));
    }
}
