//! Whatever passes here is to GNU tar what it is to us.

use std::process::Command;

use super::volumes::sparse;
use super::*;

/// A change to a tar: to a header with its checksum made anew, or to the order of its blocks.
#[derive(Debug, Clone)]
enum Change {
    Byte { block: usize, at: usize, to: u8 },
    Text { block: usize, at: usize, text: &'static [u8] },
    Drop(usize),
    Twice(usize),
    Swap(usize, usize),
    Map(&'static [u8]),
    RealSize(&'static str),
    Record(&'static str, &'static str),
}

fn change() -> impl Strategy<Value = Change> {
    let texts = prop::sample::select(vec![
        &b"00000000000"[..],
        b"00000001000",
        b"00000000777",
        b"00000002000",
        b"./a",
        b"./l/x",
        b"./d/",
        b"/",
        b"\0",
        b"size=1024\n",
        b"path=./l/x\n",
        b"\x000000000000 00000000000 ",
    ]);
    let maps = prop::sample::select(vec![
        &b"0\n512\n"[..],
        b"0\n",
        b"1\n0\n1024\n",
        b"1\n0\n512\n",
        b"1\n0\n700\n",
        b"2\n0\n512\n4096\n1024\n",
        b"2\n0\n300\n4096\n724\n",
        b"2\n0\n512\n4096\n2560\n",
        b"2\n4096\n512\n0\n512\n",
        b"3\n0\n512\n4096\n512\n9000\n0\n",
        b"3\n0\n512\n4096\n512\n8192\n512\n",
    ]);
    let paths = prop::sample::select(vec![
        "./\u{e0041}/x",
        "./.\u{e0041}./x",
        "./d\u{e007f}/b",
        "./d/\u{e9}\u{e0041}",
        "./d/\u{1f3f4}\u{e0067}\u{e007f}",
        "./l\u{e0041}/x",
        "./d/ b ",
    ]);
    let times = prop::sample::select(vec![
        "1",
        "1.",
        "-1.5",
        "00001.000000001",
        "9223372036854775807.9",
        "-9223372036854775808",
        "",
        "-",
        ".5",
        ":.5",
        "+1",
        " 1",
        "9223372036854775808",
        "-9223372036854775808.5",
        "-9223372036854775809",
    ]);
    let ids = prop::sample::select(vec!["0", "00001", "4294967295", "4294967296", "-1", "", "1x", " 1"]);
    let sizes = prop::sample::select(vec!["0", "1", "9000", "9223372036854775808", "18446744073709551615"]);
    let records = prop_oneof![
        paths.prop_map(|path| ("path", path)),
        times.prop_map(|time| ("mtime", time)),
        ids.clone().prop_map(|id| ("uid", id)),
        ids.prop_map(|id| ("gid", id)),
        sizes.clone().prop_map(|size| ("size", size)),
    ];
    let places = prop_oneof![Just(0), Just(100), Just(124), Just(156), Just(157), Just(345), Just(475), 0..BLOCK - 30];
    prop_oneof![
        (0..40_usize, prop_oneof![Just(156), 0..BLOCK], prop_oneof![b'0'..b'8', any::<u8>()])
            .prop_map(|(block, at, to)| Change::Byte { block, at, to }),
        (0..40_usize, places, texts).prop_map(|(block, at, text)| Change::Text { block, at, text }),
        (0..40_usize).prop_map(Change::Drop),
        (0..40_usize).prop_map(Change::Twice),
        (0..40_usize, 0..40_usize).prop_map(|(a, b)| Change::Swap(a, b)),
        maps.prop_map(Change::Map),
        sizes.prop_map(Change::RealSize),
        records.prop_map(|(key, value)| Change::Record(key, value)),
    ]
}

fn changed(tar: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut blocks: Vec<[u8; BLOCK]> = tar.chunks(BLOCK).map(|block| block.try_into().unwrap()).collect();
    for change in changes {
        let count = blocks.len();
        match *change {
            Change::Byte { block, at, to } => blocks[block % count][at] = to,
            Change::Text { block, at, text } => {
                blocks[block % count][at..at + text.len()].copy_from_slice(text);
            }
            Change::Drop(block) => drop(blocks.remove(block % count)),
            Change::Twice(block) => blocks.insert(block % count, blocks[block % count]),
            Change::Swap(a, b) => blocks.swap(a % count, b % count),
            Change::Record(key, value) => {
                let records = pax(&[(key, value.as_bytes())]);
                let old = |two: &[[u8; BLOCK]]| two[1].windows(7).any(|some| some == b"path=./");
                if let Some(at) = blocks.windows(2).position(old) {
                    blocks[at] = records[..BLOCK].try_into().unwrap();
                    blocks[at + 1] = records[BLOCK..].try_into().unwrap();
                }
            }
            Change::RealSize(size) => {
                let records = sparse(b"1", b"0", size.as_bytes(), b"", 0);
                let old = |two: &[[u8; BLOCK]]| two[1].windows(11).any(|some| some == b"GNU.sparse.");
                if let Some(at) = blocks.windows(2).position(old) {
                    blocks[at] = records[..BLOCK].try_into().unwrap();
                    blocks[at + 1] = records[BLOCK..2 * BLOCK].try_into().unwrap();
                }
            }
            Change::Map(text) => {
                if let Some(map) = blocks.iter_mut().find(|block| block.starts_with(b"2\n0\n")) {
                    map.fill(0);
                    map[..text.len()].copy_from_slice(text);
                }
            }
        }
    }
    // Everything that looks like a header is one with a good checksum.
    for block in blocks.iter_mut().filter(|block| &block[257..262] == b"ustar") {
        resummed(block);
    }
    blocks.concat()
}

/// The names of what GNU tar unpacks of it, and whether it has nothing to say of that.
#[expect(clippy::disallowed_methods, reason = "what is tested is what another program makes of it")]
fn as_tar_reads(tar: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(tar).unwrap();
    // To standard output, it takes the data as it does for files; the names go beside it.
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--to-stdout", "--verbose", "--quoting-style=literal", "--file"]).arg(file.path());
    let unpacked = tar.env("LC_ALL", "C").output().unwrap();
    let said = unpacked.stderr.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec);
    let (trouble, names): (Vec<_>, Vec<_>) = said.partition(|line| line.starts_with(b"tar: "));
    (names, unpacked.status.success() && trouble.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, max_shrink_iters: 300, ..ProptestConfig::default() })]

    /// Whatever passes is read by GNU tar as the same entries.
    #[test]
    fn gnu_tar_reads_the_same(changes in prop::collection::vec(change(), 1..4)) {
        let entries = [
            header(b'5', "./", "", 0),
            file("./a", &[b'x'; 700]),
            sparse(b"1", b"0", b"9000", b"2\n0\n512\n4096\n512\n", 1024),
            [pax(&[("path", b"./long"), ("mtime", b"1.5")]), file("./cut", b"y")].concat(),
            header(b'2', "./l", "/etc", 0),
            header(b'1', "./h", "./a", 0),
            header(b'5', "./d/", "", 0),
            file("./d/b", b"z"),
        ];
        let bytes = changed(&tar(&entries)[..21 * BLOCK], &changes);
        let bytes = [bytes, vec![0; 2 * BLOCK]].concat();
        let mut inner = Inner::unpacking(Part::Home);
        let passes = inner.feed(&bytes, &mut |_| {}).and_then(|()| inner.end()).is_ok();
        if passes {
            let (names, fine) = as_tar_reads(&bytes);
            prop_assert!(fine, "tar has something to say");
            prop_assert_eq!(names.len() as u64, inner.entries(), "{:?}", names);
            prop_assert_eq!(&names, &inner.names);
        }
    }
}
