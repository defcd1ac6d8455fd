//! Compiles `proto/*.proto` without a `protoc` on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["proto/frame.proto", "proto/content.proto"];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    prost_build::Config::new()
        .bytes(["."])
        .compile_fds(protox::compile(files, ["proto"])?)?;
    Ok(())
}
