//! The format, against itself and against those who would misuse it.

use std::io::Write;

use proptest::prelude::*;

use super::ustar::{BLOCK, padding, plain_file};
use super::*;

mod tar;
mod volumes;

fn manifest(parts: &[Part]) -> Manifest {
    let spec = "format = 1\nname = \"abc\"\nimage = \"localhost/devbox:latest\"\ncpu = 1.5\nmemory = \"1G\"\ncreated_at = \"2026-01-02T03:04:05Z\"\ndev = \"owner\"\nenv = [\"A=b\"]\n";
    Manifest {
        format: FORMAT,
        made_at: "2026-02-03T04:05:06Z".parse().unwrap(),
        consistency: Consistency::Stopped,
        spec: crate::spec::BoxSpec::from_toml(spec).unwrap(),
        volumes: parts.iter().map(|&part| Volume { part, priority: part.default_priority() }).collect(),
    }
}

/// A header of any kind, in tar's own form.
fn header(kind: u8, name: &str, link: &str, size: u64) -> Vec<u8> {
    let mut block = plain_file(name, size, 0);
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link.as_bytes());
    resummed(&mut block);
    block.to_vec()
}

fn resummed(block: &mut [u8; BLOCK]) {
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn file(name: &str, bytes: &[u8]) -> Vec<u8> {
    let size = bytes.len() as u64;
    [&header(b'0', name, "", size)[..], bytes, &vec![0; padding(size)]].concat()
}

/// An extended header with these records.
fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut text = Vec::new();
    for (key, value) in records {
        let body = key.len() + value.len() + 3;
        let length = (1..9).map(|digits| body + digits).find(|n| body + n.to_string().len() == *n).unwrap();
        text.extend(format!("{length} {key}=").bytes().chain(value.iter().copied()).chain([b'\n']));
    }
    let size = text.len() as u64;
    [&header(b'x', "./PaxHeaders/x", "", size)[..], &text, &vec![0; padding(size)]].concat()
}

fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut tar = entries.concat();
    tar.resize((tar.len() + 2 * BLOCK).next_multiple_of(20 * BLOCK), 0);
    tar
}

fn archive(volumes: &[(Part, &[u8])]) -> Result<Vec<u8>, BackupError> {
    let parts: Vec<Part> = volumes.iter().map(|(part, _)| *part).collect();
    let mut writer = Writer::begin(Vec::new(), &manifest(&parts))?;
    for (part, bytes) in volumes {
        writer.volume(*part, &mut &**bytes, |_, _| {})?;
    }
    Ok(writer.finish()?.0)
}

/// An archive that is in order outside, whatever is in its volume: what our own writer would refuse to write.
fn forged(part: Part, volume: &[u8]) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let manifest = manifest(&[part]);
    let mtime = u64::try_from(manifest.made_at.as_second()).unwrap();
    let mut tar = Vec::new();
    let mut entry = |name: &str, bytes: &[u8]| {
        let size = bytes.len() as u64;
        tar.extend([&plain_file(name, size, mtime)[..], bytes, &vec![0; padding(size)]].concat());
    };
    entry(MANIFEST, toml::to_string(&manifest).unwrap().as_bytes());
    let chunks: Vec<&[u8]> = volume.chunks(CHUNK).collect();
    for (number, chunk) in (0..).zip(&chunks) {
        entry(&part.entry(number), chunk);
    }
    let sha256 = super::write::hex(&Sha256::digest(volume));
    let sum = VolumeSum { part, bytes: volume.len() as u64, chunks: u32::try_from(chunks.len()).unwrap(), sha256 };
    entry(CHECKSUMS, toml::to_string(&Checksums { volumes: vec![sum] }).unwrap().as_bytes());
    tar.extend([0; 2 * BLOCK]);
    deflated(&tar)
}

fn read(archive: &[u8]) -> Result<Verified, BackupError> {
    verify(archive, Most::ANY, |_, _| Ok(()))
}

/// The archive without its compression, and back.
fn inflated(archive: &[u8]) -> Vec<u8> {
    zstd::decode_all(archive).unwrap()
}

fn deflated(tar: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(tar).unwrap();
    encoder.finish().unwrap()
}

fn small() -> (Vec<u8>, Vec<u8>) {
    let home = tar(&[header(b'5', "./", "", 0), file("./a", b"hello"), header(b'2', "./l", "/etc/passwd", 0)]);
    let state = tar(&[header(b'5', "./", "", 0)]);
    (home, state)
}

#[test]
fn what_was_written_is_read() {
    let (home, state) = small();
    let archive = archive(&[(Part::Home, &home), (Part::State, &state)]).unwrap();
    let verified = read(&archive).unwrap();
    assert_eq!(verified.manifest, manifest(&[Part::Home, Part::State]));
    assert_eq!(verified.sums.bytes(), (home.len() + state.len()) as u64);
    let mut reader = Reader::open(&archive[..], Most::ANY).unwrap();
    for (part, bytes) in [(Part::Home, home), (Part::State, state)] {
        let mut to = Vec::new();
        let sum = reader.volume(part, &mut to, |_, _| Ok(())).unwrap();
        assert!(to == bytes && verified.sums.of(part) == Some(&sum));
    }
    assert_eq!(reader.finish().unwrap(), verified);
}

#[test]
fn a_box_without_volumes_is_one() {
    assert_eq!(read(&archive(&[]).unwrap()).unwrap().sums, Checksums::default());
}

#[test]
fn chunks_are_of_one_size_but_for_the_last() {
    for length in [CHUNK - 10_240, CHUNK - 2048, CHUNK, CHUNK + 1, 2 * CHUNK] {
        let home = tar(&[file("./big", &vec![7; length])]);
        let verified = read(&archive(&[(Part::Home, &home)]).unwrap()).unwrap();
        let sum = verified.sums.of(Part::Home).unwrap();
        assert_eq!((sum.bytes, sum.chunks as usize), (home.len() as u64, home.len().div_ceil(CHUNK)));
    }
}

/// Some bits of a zstd frame say nothing, or the same in another way, as where in a run of zeros a match begins: a flip
/// there leaves the same archive. None makes another.
#[test]
fn every_flipped_byte_is_refused_or_changes_nothing() {
    let (home, state) = small();
    let archive = archive(&[(Part::Home, &home), (Part::State, &state)]).unwrap();
    let good = inflated(&archive);
    let mut same = 0;
    for at in 0..archive.len() {
        for flip in [0x01, 0x10, 0x80, 0xff] {
            let mut damaged = archive.clone();
            damaged[at] ^= flip;
            if read(&damaged).is_ok() {
                same += 1;
                assert_eq!(inflated(&damaged), good, "byte {at}");
            }
        }
    }
    assert!(same < archive.len() / 10, "{same} flips of 4 times {} bytes went unnoticed", archive.len());
}

/// With the compression made anew over it, so that only our own checks are left.
#[test]
fn every_flipped_byte_inside_is_refused() {
    let (home, _) = small();
    let good = inflated(&archive(&[(Part::Home, &home)]).unwrap());
    for at in 0..good.len() {
        let mut damaged = good.clone();
        damaged[at] ^= 0x11;
        if read(&deflated(&damaged)).is_ok() {
            // The manifest is not in any checksum of ours: who can write one can write another.
            assert!(at < 2 * BLOCK + 512, "byte {at} of {}", good.len());
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    let (home, _) = small();
    let archive = archive(&[(Part::Home, &home)]).unwrap();
    for length in 0..archive.len() {
        assert!(read(&archive[..length]).is_err(), "{length}");
    }
    let good = inflated(&archive);
    for length in (0..good.len()).step_by(BLOCK) {
        assert!(read(&deflated(&good[..length])).is_err(), "{length}");
    }
}

#[test]
fn nothing_may_follow() {
    let (home, _) = small();
    let archive = archive(&[(Part::Home, &home)]).unwrap();
    let another_frame = zstd::encode_all(&b"more"[..], 3).unwrap();
    for more in [&b"x"[..], &[0], &archive, &another_frame] {
        let error = read(&[&archive, more].concat()).unwrap_err().to_string();
        assert!(error.contains("more after its end"), "{error}");
    }
    let inside = [inflated(&archive), vec![0; BLOCK]].concat();
    assert!(read(&deflated(&inside)).is_err());
}

#[test]
fn other_files_are_no_backups() {
    let tar = deflated(&tar(&[file("./a", b"x")]));
    for other in [&b""[..], b"hello", &tar, &deflated(b"")] {
        assert!(matches!(read(other), Err(BackupError::NotABackup | BackupError::Damaged(_))), "{other:?}");
    }
}

#[test]
fn another_format_is_named() {
    let mut later = manifest(&[]);
    later.format = 2;
    let archive = Writer::begin(Vec::new(), &later).unwrap().finish().unwrap().0;
    assert!(matches!(read(&archive), Err(BackupError::Format(2))));
}

#[test]
fn what_unpacks_to_more_is_refused_before_it_is_read() {
    let bomb = tar(&[file("./zeros", &vec![0; 3 * CHUNK])]);
    let archive = archive(&[(Part::Home, &bomb)]).unwrap();
    assert!(archive.len() < 10_000);
    let mut seen = 0;
    let refused = verify(&archive[..], Most { bytes: CHUNK as u64 + 1, ..Most::ANY }, |bytes, _| {
        seen = bytes;
        Ok(())
    });
    assert!(matches!(refused, Err(BackupError::TooLarge { .. })));
    assert_eq!(seen, 0);
}

#[test]
fn forged_is_what_the_writer_writes() {
    let (home, _) = small();
    assert_eq!(inflated(&forged(Part::Home, &home)), inflated(&archive(&[(Part::Home, &home)]).unwrap()));
}

/// Volumes in another order, twice, missing, or with chunks out of order.
#[test]
fn entries_are_where_they_belong() {
    let home = tar(&[file("./big", &vec![7; CHUNK])]);
    let (_, state) = small();
    let good = inflated(&archive(&[(Part::Home, &home), (Part::State, &state)]).unwrap());
    let starts: Vec<usize> = (0..good.len())
        .step_by(BLOCK)
        .filter(|at| {
            good[*at..].starts_with(b"home.tar/")
                || good[*at..].starts_with(b"state.tar/")
                || good[*at..].starts_with(b"checksums")
        })
        .collect();
    let [one, two, state, sums] = starts[..] else { panic!("{starts:?}") };
    let part = |from: usize, to: usize| good[from..to].to_vec();
    let (head, one, two, state, end) =
        (part(0, one), part(one, two), part(two, state), part(state, sums), part(sums, good.len()));
    let read = |parts: &[&Vec<u8>]| read(&deflated(&parts.iter().flat_map(|p| p.iter().copied()).collect::<Vec<_>>()));
    assert!(read(&[&head, &one, &two, &state, &end]).is_ok());
    for wrong in [
        &[&head, &two, &one, &state, &end][..],
        &[&head, &one, &state, &end],
        &[&head, &one, &one, &two, &state, &end],
        &[&head, &state, &one, &two, &end],
        &[&head, &one, &two, &end],
        &[&head, &one, &two, &state, &state, &end],
        &[&head, &one, &two, &state],
        &[&head, &end],
        &[&head, &one, &two, &state, &end, &end],
    ] {
        assert!(read(wrong).is_err());
    }
}

proptest! {
    #[test]
    fn any_files_survive(files in prop::collection::vec(("[a-z]{1,8}(/[a-z]{1,8}){0,3}", prop::collection::vec(any::<u8>(), 0..2000)), 0..8)) {
        let home = tar(&files.iter().map(|(name, bytes)| file(&format!("./{name}"), bytes)).collect::<Vec<_>>());
        let archive = archive(&[(Part::Home, &home)]).unwrap();
        let mut reader = Reader::open(&archive[..], Most::ANY).unwrap();
        let mut to = Vec::new();
        reader.volume(Part::Home, &mut to, |_, _| Ok(())).unwrap();
        prop_assert_eq!(to, home);
        prop_assert!(reader.finish().is_ok());
    }

    /// Nothing that is fed to it makes it panic, and pieces of any size are the same to it as the whole.
    #[test]
    fn any_bytes_are_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..3000), piece in 1_usize..700) {
        let said = |mut pieces: std::slice::Chunks<'_, u8>| {
            let mut inner = Inner::unpacking(Part::Home);
            pieces.try_for_each(|some| inner.feed(some, &mut |_| {})).and_then(|()| inner.end()).map_err(|e| e.to_string())
        };
        prop_assert_eq!(said(bytes.chunks(piece)), said(bytes.chunks(bytes.len().max(1))));
        prop_assert!(read(&bytes).is_err() && read(&deflated(&bytes)).is_err());
    }

    #[test]
    fn records_of_any_bytes_are_an_answer(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = super::pax::parse(&text);
    }
}
