/// Returns a frame of the default framing: four bytes of length, then the body.
pub fn frame(body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("a short body");
    [&len.to_be_bytes(), body].concat()
}
