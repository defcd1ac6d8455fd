use std::collections::BTreeMap;

use super::*;

const CONTENTS: [(&str, usize); 4] = [
    ("unhidra.db", 1_500),
    ("keys.sealed", 512),
    ("tls/ca.pem", 0),
    ("x", 1),
];

fn content(name: &str, bytes: usize) -> Vec<u8> {
    name.bytes().cycle().take(bytes).collect()
}

fn backup() -> Vec<u8> {
    let parts = CONTENTS.map(|(name, bytes)| Part {
        name: name.to_owned(),
        bytes: u64::try_from(bytes).unwrap(),
        sha256: sha256(&content(name, bytes)),
    });
    let manifest = Manifest {
        parts: parts.to_vec(),
        ..Manifest::new(Timestamp::from_millis(1_790_000_000_000))
    };
    let mut file = Vec::new();
    write(&mut file, &manifest, |part| {
        let bytes = usize::try_from(part.bytes).unwrap();
        Ok(io::Cursor::new(content(&part.name, bytes)))
    })
    .unwrap();
    file
}

fn unpack(file: &[u8]) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    read(
        file,
        |_| Ok(Vec::new()),
        |part, content| {
            found.insert(part.name.clone(), content);
            Ok(())
        },
    )?;
    Ok(found)
}

#[test]
fn what_went_in_comes_out() {
    let found = unpack(&backup()).unwrap();
    let expected = CONTENTS.map(|(name, bytes)| (name.to_owned(), content(name, bytes)));
    assert_eq!(found, expected.into_iter().collect());
}

#[test]
fn another_byte_anywhere_is_found_or_means_nothing() {
    let whole = backup();
    let content = unpack(&whole).unwrap();
    let mut found = 0;
    for at in 0..whole.len() - 2 * BLOCK {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        match unpack(&changed) {
            Ok(unpacked) => assert_eq!(unpacked, content, "byte {at}"),
            Err(_) => found += 1,
        }
    }
    let bytes: usize = CONTENTS.iter().map(|(_, bytes)| bytes).sum();
    assert!(found > bytes, "{found} of more than {bytes}");
}

#[test]
fn a_backup_that_was_cut_off_is_found() {
    let whole = backup();
    for end in (0..whole.len() - 2 * BLOCK).step_by(97) {
        assert!(unpack(&whole[..end]).is_err(), "at {end}");
    }
}

#[test]
fn a_name_that_leaves_the_folder_is_refused() {
    for name in ["", "/etc/passwd", "../x", "a/../../x", "./x"] {
        assert!(!is_inside(name), "{name}");
    }
    assert!(is_inside("tls/ca.pem"));
}

#[test]
fn a_length_beyond_eight_gibibytes_is_written_and_read() {
    for bytes in [0, (1 << 33) - 1, 1 << 33, 1 << 50] {
        let block = header("unhidra.db", bytes, Timestamp::EPOCH);
        assert_eq!(parse(&block), Some(("unhidra.db".to_owned(), bytes)));
    }
}

#[test]
fn other_programs_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.tar");
    std::fs::write(&file, backup()).unwrap();
    let unpacked = std::process::Command::new("tar")
        .arg("-xf")
        .arg(&file)
        .current_dir(folder.path())
        .status()
        .unwrap();
    assert!(unpacked.success());
    let checked = std::process::Command::new("sha256sum")
        .args(["--check", "--quiet", SUMS])
        .current_dir(folder.path())
        .status()
        .unwrap();
    assert!(checked.success());
}
