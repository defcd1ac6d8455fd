//! What `run.mjs` does for a module.

#[link(wasm_import_module = "host")]
unsafe extern "C" {
    safe fn say(text: *const u8, length: usize);
    fn read(path: *const u8, path_length: usize, into: *mut u8, room: usize) -> isize;
}

/// Prints.
pub(crate) fn tell(text: &str) {
    say(text.as_ptr(), text.len());
}

/// The bytes of a file; of a folder the names in it, in order, one in a line. Nothing where there is neither.
pub(crate) fn bytes(path: &str) -> Option<Vec<u8>> {
    // SAFETY: the host reads `path` and, without room, writes nothing.
    let length = unsafe { read(path.as_ptr(), path.len(), std::ptr::null_mut(), 0) };
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    // SAFETY: the host writes no more than there is room for.
    let written = unsafe { read(path.as_ptr(), path.len(), bytes.as_mut_ptr(), bytes.len()) };
    (written == length).then_some(bytes)
}
