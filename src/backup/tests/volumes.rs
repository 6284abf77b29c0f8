//! What may be in a volume, and what may not.

use super::*;

/// A file with holes: what it says of itself, its map, and so many bytes of data.
pub(super) fn sparse(major: &[u8], minor: &[u8], real: &[u8], map: &[u8], data: usize) -> Vec<u8> {
    let records = pax(&[
        ("GNU.sparse.major", major),
        ("GNU.sparse.minor", minor),
        ("GNU.sparse.name", b"./holes"),
        ("GNU.sparse.realsize", real),
    ]);
    let mut body = map.to_vec();
    body.resize(body.len().next_multiple_of(BLOCK) + data, 0);
    [records, file("./GNUSparseFile.0/holes", &body)].concat()
}

fn whole_sparse(name: &[u8]) -> [(&'static str, &[u8]); 5] {
    [
        ("path", b"./ok"),
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", name),
        ("GNU.sparse.realsize", b"1"),
    ]
}

/// Archives whose outside is in order and whose volumes are not.
#[test]
fn hostile_volumes_are_refused() {
    let link = header(b'2', "./l", "/etc", 0);
    let long = |records: &[(&str, &[u8])], kind| [pax(records), header(kind, "./x", "", 0)].concat();
    let mut foreign = header(b'0', "./a", "", 0);
    foreign[257..265].copy_from_slice(b"ustar  \0");
    resummed(foreign.as_mut_slice().try_into().unwrap());
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("not one of", vec![file("/etc/passwd", b"x")]),
        ("not one of", vec![file("../x", b"x")]),
        ("not one of", vec![file("./a/../../x", b"x")]),
        ("not one of", vec![long(&[("path", b"/etc/x")], b'0')]),
        ("not one of", vec![long(&whole_sparse(b"../x"), b'0')]),
        ("not one of", vec![header(b'1', "./h", "/etc/passwd", 0)]),
        ("not one of", vec![header(b'1', "./h", "../x", 0)]),
        ("not one of", vec![long(&[("linkpath", b"../x")], b'1')]),
        ("below a symbolic link", vec![link.clone(), file("./l/passwd", b"x")]),
        ("not one of", vec![link.clone(), file("l//./passwd", b"x")]),
        ("through a symbolic link", vec![link.clone(), header(b'1', "./h", "./l/passwd", 0)]),
        ("below a symbolic link", vec![link.clone(), header(b'1', "./h", "./l", 0), file("./h/passwd", b"x")]),
        ("place of a symbolic link", vec![link.clone(), file("./l", b"x")]),
        ("place of a symbolic link", vec![link.clone(), header(b'5', "./l/", "", 0)]),
        ("of a kind", vec![header(b'S', "./old-sparse", "", 0)]),
        ("of a kind", vec![header(b'L', "./@LongLink", "", 0)]),
        ("of a kind", vec![header(b'g', "./global", "", 0)]),
        ("a size", vec![header(b'5', "./d", "", 512)]),
        ("two values", vec![long(&[("path", b"./a"), ("path", b"./b")], b'0')]),
        ("no name", vec![long(&[("path", b"./a\0/../b")], b'0')]),
        ("a mtime", vec![long(&[("mtime", b":.5")], b'0')]),
        ("a mtime", vec![long(&[("mtime", b"-9223372036854775808.5")], b'0')]),
        ("a uid", vec![long(&[("uid", b"4294967296")], b'0')]),
        ("a gid", vec![long(&[("gid", b"-1")], b'0')]),
        ("not one of", vec![file("a", b"x")]),
        ("not one of", vec![file("././a", b"x")]),
        ("not one of", vec![file("./a//b", b"x")]),
        ("not one of", vec![header(b'5', ".//", "", 0)]),
        ("not one of", vec![header(b'5', "./a//", "", 0)]),
        ("not one of", vec![header(b'1', "./h", "a", 0)]),
        ("a folder's name", vec![file("./a/", b"x")]),
        ("a folder's name", vec![header(b'2', "./a/", "b", 0)]),
        ("a folder's name", vec![long(&[("path", b"./a/")], b'0')]),
        ("of another form", vec![long(&[("GNU.sparse.realsize", b"4096")], b'0')]),
        ("of another form", vec![long(&[("GNU.sparse.name", b"./a")], b'0')]),
        ("of another form", vec![sparse(b"0", b"0", b"1", b"0\n", 0)]),
        ("of another form", vec![sparse(b"1", b"1", b"1", b"0\n", 0)]),
        ("can have none", vec![long(&whole_sparse(b"./x"), b'5')]),
        ("can have none", vec![long(&whole_sparse(b"./x"), b'0'), file("./late", b"x")]),
        ("GNU.sparse.map", vec![long(&[("GNU.sparse.map", b"0,1")], b'0')]),
        ("SCHILY.xattr.trusted.a", vec![long(&[("SCHILY.xattr.trusted.a", b"x")], b'0')]),
        ("of an odd", vec![pax(&[("path", b"./a")]), pax(&[("path", b"./b")])]),
        ("not POSIX's", vec![foreign]),
        ("after a volume's end", vec![vec![0; BLOCK], file("./late", b"x")]),
        ("of nothing", vec![pax(&[("path", b"./a")])]),
    ];
    for (says, entries) in cases {
        let bytes = tar(&entries);
        let error = archive(&[(Part::Home, &bytes)]).unwrap_err().to_string();
        assert!(error.contains(says), "{error} has no {says:?}");
        let error = read(&forged(Part::Home, &bytes)).unwrap_err().to_string();
        assert!(error.contains(says), "read: {error} has no {says:?}");
        let mut inner = Inner::unpacking(Part::Home);
        assert!(bytes.chunks(100).any(|some| inner.feed(some, &mut |_| {}).is_err()), "{says}");
    }
    let cut = file("./a", &[1; 600]);
    let error = archive(&[(Part::Home, &cut[..cut.len() - 100])]).unwrap_err().to_string();
    assert!(error.contains("ends too early"), "{error}");
}

#[test]
fn what_tar_writes_is_taken() {
    let entries = [
        header(b'5', "./", "", 0),
        [pax(&[("mtime", b"1.5"), ("path", b"./a\nb \xff"), ("SCHILY.xattr.user.x", b"a=b\n")]), file("./a", b"x")]
            .concat(),
        sparse(b"1", b"0", b"1073741824", b"2\n4096\n1024\n1073741824\n0\n", 1024),
        sparse(b"1", b"0", b"700", b"1\n600\n100\n", 100),
        sparse(b"1", b"0", b"4096", b"1\n4096\n0\n", 0),
        // A name that is cut where the header has no more room.
        [pax(&[("path", b"./deep/..hidden")]), file("./deep/..", b"x")].concat(),
        header(b'1', "./second", "./a", 0),
        header(b'2', "./l", "../../..", 0),
        header(b'1', "./l2", "./l", 0),
        header(b'6', "./fifo", "", 0),
        [pax(&[("mtime", b"-9223372036854775808"), ("uid", b"4294967294")]), file("./old", b"x")].concat(),
    ];
    let (bytes, mut kept) = (tar(&entries), Vec::new());
    let mut inner = Inner::packing(Part::Home);
    inner.feed(&bytes, &mut |some| kept.extend_from_slice(some)).unwrap();
    inner.end().unwrap();
    assert_eq!(inner.entries(), 11);
    assert!(kept == bytes && *inner.left_out() == LeftOut::default());
}

/// What tar writes and cannot unpack, or nobody in a container can make: refused in an archive that is there, and left out
/// of one that is made, with its second names.
#[test]
fn the_hopeless_is_left_out_and_refused() {
    let device = header(b'3', "./whiteout", "", 0);
    let long = "./".to_owned() + &"n/".repeat(2500) + "n";
    let tagged = "./.\u{e0041}.";
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a device", device.clone()),
        ("a device", [pax(&[("path", b"./long/name")]), header(b'4', "./lo", "", 0)].concat()),
        ("too long", [pax(&[("path", long.as_bytes())]), file("./n/n", &[7; 600])].concat()),
        ("too long", [pax(&[("linkpath", long.as_bytes())]), header(b'1', "./n", "./n", 0)].concat()),
        ("read otherwise", [pax(&[("path", tagged.as_bytes())]), file("./x", b"y")].concat()),
        ("read otherwise", [pax(&[("linkpath", tagged.as_bytes())]), header(b'1', "./n", "./x", 0)].concat()),
        ("not as long as", sparse(b"1", b"0", b"9000", b"1\n0\n1024\n", 512)),
        ("not as long as", sparse(b"1", b"0", b"9000", b"1\n0\n512\n", 1024)),
        ("not as long as", sparse(b"1", b"0", b"9000", b"0\n", 512)),
        ("not where it says", sparse(b"1", b"0", b"9000", b"x\n", 512)),
        ("not where it says", sparse(b"1", b"0", b"9000", b"\n", 512)),
        ("not where it says", sparse(b"1", b"0", b"9000", b"1\n-1\n1\n", 512)),
        ("not where it says", sparse(b"1", b"0", b"9000", b"1\n8999\n2\n", 512)),
        ("not where it says", sparse(b"1", b"0", b"9000", b"2\n512\n512\n512\n512\n", 1024)),
        ("not where it says", sparse(b"1", b"0", b"9000", b"2\n0\n1\n512\n512\n", 1024)),
        ("not where it says", sparse(b"1", b"0", b"9000", b"99999999999999999999\n", 512)),
        ("not where it says", sparse(b"1", b"0", b"9000", b"1\n18446744073709551615\n1\n", 512)),
    ];
    let with = |entries: &[&Vec<u8>]| {
        let around = [header(b'5', "./", "", 0), file("./a", b"x"), header(b'1', "./c", "./a", 0)];
        let [folder, file, link] = &around;
        tar(&[&[folder, file], entries, &[link]].concat().into_iter().cloned().collect::<Vec<_>>())
    };
    for (says, entry) in &cases {
        let bytes = with(&[entry]);
        let error = read(&forged(Part::Home, &bytes)).unwrap_err().to_string();
        assert!(error.contains(says), "{error} has no {says:?}");
        for piece in [1, 100, 512, 100_000] {
            let mut inner = Inner::packing(Part::Home);
            let mut kept = Vec::new();
            for some in bytes.chunks(piece) {
                inner.feed(some, &mut |some| kept.extend_from_slice(some)).unwrap();
            }
            inner.end().unwrap();
            let left_out = inner.left_out();
            assert!(left_out.count == 1 && left_out.names[0].contains(says), "{left_out:?}");
            kept.resize(with(&[]).len(), 0);
            assert!(kept == with(&[]), "in pieces of {piece}: {says}");
        }
        assert!(read(&archive(&[(Part::Home, &bytes)]).unwrap()).is_ok());
    }
    // And what is only another name of it.
    let again = header(b'1', "./again", "./whiteout", 0);
    let mut inner = Inner::packing(Part::Home);
    inner.feed(&with(&[&device, &again]), &mut |_| {}).unwrap();
    assert_eq!(inner.left_out().names, ["./whiteout (a device)", "./again (a second name of such a one)"]);
}

/// By these GNU tar takes a header for one of star(1), and reads its data by other rules.
#[test]
fn a_header_of_another_program_is_refused() {
    for (at, text) in
        [(475, &b"\x000000000000 00000000000 "[..]), (345, b"prefix"), (265, b"root"), (297, b"root"), (500, b"tar\0")]
    {
        let mut entry = sparse(b"1", b"0", b"1024", b"0\n", 0);
        let start = entry.len() - 2 * BLOCK;
        entry[start + at..start + at + text.len()].copy_from_slice(text);
        resummed((&mut entry[start..start + BLOCK]).try_into().unwrap());
        let error = read(&forged(Part::Home, &tar(&[entry]))).unwrap_err().to_string();
        assert!(error.contains("more in it than tar writes"), "{error}");
    }
    let mut name = header(b'0', "./a", "", 0);
    name[50] = b'x';
    resummed(name.as_mut_slice().try_into().unwrap());
    assert!(read(&forged(Part::Home, &tar(&[name]))).is_err());
}

/// A name is as it is written, whatever alphabet it has; but for what a locale may leave away.
#[test]
fn names_beyond_ascii() {
    for name in [
        &b"./caf\xc3\xa9"[..],
        b"./\xff\xfe",
        "./\u{1f3f4}\u{e0067}\u{e0062}\u{e007f}".as_bytes(),
        "./\u{feff}x".as_bytes(),
    ] {
        let entry = [pax(&[("path", name)]), file("./x", b"y")].concat();
        assert!(read(&forged(Part::Home, &tar(&[entry]))).is_ok(), "{}", name.escape_ascii());
    }
}

/// However it is written: tar would see the same folder.
#[test]
fn the_login_of_another_device_is_refused() {
    for name in ["./tailscale", "./tailscale/", "tailscale/", ".//tailscale/", "././tailscale/", "./a/../tailscale/"] {
        for kind in [b'0', b'5', b'2'] {
            let volume = tar(&[header(kind, name, "x", 0)]);
            assert!(matches!(read(&forged(Part::State, &volume)), Err(BackupError::Unsafe(_))), "{name}");
        }
    }
    for fine in ["./tailscale", "./tailscale/state"] {
        assert!(read(&forged(Part::Home, &tar(&[file(fine, b"x")]))).is_ok());
    }
    assert!(read(&forged(Part::State, &tar(&[file("./tailscaled", b"x")]))).is_ok());
}

/// A block for each, however small it is; and no more files than the disk has room for.
#[test]
fn many_small_files_are_as_large_as_on_disk() {
    let files: Vec<Vec<u8>> = (0..100).map(|n| file(&format!("./{n}"), b"x")).collect();
    let archive = archive(&[(Part::Home, &tar(&files))]).unwrap();
    let most = |bytes, files| verify(&archive[..], Most { bytes, files }, |_, _| Ok(()));
    assert!(most(100 * 4096, 100).is_ok());
    assert!(matches!(most(100 * 4096 - 1, 100), Err(BackupError::TooLarge { .. })));
    assert!(matches!(most(100 * 4096, 99), Err(BackupError::TooMany { most: 99 })));
    // Each piece of a file with holes is in a block of its own, or in two.
    let pieces = tar(&[sparse(b"1", b"0", b"100000", b"3\n0\n512\n4096\n512\n12000\n512\n", 3 * 512)]);
    let mut inner = Inner::unpacking(Part::Home);
    inner.feed(&pieces, &mut |_| {}).unwrap();
    assert_eq!(inner.on_disk(), 5 * 4096);
    // And attributes are in one.
    let mut inner = Inner::unpacking(Part::Home);
    let entry = [pax(&[("SCHILY.xattr.user.a", b"b")]), header(b'5', "./", "", 0)].concat();
    inner.feed(&tar(&[entry]), &mut |_| {}).unwrap();
    assert_eq!(inner.on_disk(), 2 * 4096);
}
