//! Every input in `fuzz/corpus`, and what was found with others, once more.
#![cfg(test)]

use std::{fs, path::Path};

use unhidra_fuzz::TARGETS;

#[test]
fn no_input_of_the_corpora_breaks_its_target() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, target) in TARGETS {
        let mut inputs = 0;
        for entry in fs::read_dir(corpora.join(name)).unwrap_or_else(|error| panic!("{name}: {error}")) {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            target(&fs::read(path).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "{name} has no corpus");
    }
}
