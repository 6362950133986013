//! Files that are made on the spot, and their torrents.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use sha1::{Digest, Sha1};

/// A folder that is removed when this is dropped.
pub(crate) struct Folder(pub PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("torrent-{name}-{}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The name of each file.
pub(crate) const NAME: &str = "file";

/// Makes a file of random bytes and its torrent, and returns the path of the
/// torrent. `tracker` is the port of a tracker on 127.0.0.1.
pub(crate) fn make(folder: &Folder, len: usize, tracker: u16) -> PathBuf {
    const PIECE_LEN: usize = 1 << 20;

    let mut file = File::create(folder.path(NAME)).expect("a file");
    let (mut piece, mut left, mut hashes) = (vec![0; PIECE_LEN], len, Vec::new());
    while left > 0 {
        piece.truncate(left);
        piece.fill_with(|| fastrand::u8(..));
        file.write_all(&piece).expect("room on the disk");
        hashes.extend(Sha1::digest(&piece));
        left -= piece.len();
    }
    let announce = format!("http://127.0.0.1:{tracker}/announce");
    let (announce_len, hashes_len, name_len) = (announce.len(), hashes.len(), NAME.len());
    let begin = format!(
        "d8:announce{announce_len}:{announce}4:infod6:lengthi{len}e4:name{name_len}:{NAME}\
         12:piece lengthi{PIECE_LEN}e6:pieces{hashes_len}:"
    );
    let path = folder.path("file.torrent");
    fs::write(&path, [begin.as_bytes(), &hashes, b"ee"].concat()).expect("room on the disk");
    path
}

/// Panics if two files differ.
#[track_caller]
pub(crate) fn assert_same(a: &std::path::Path, b: &std::path::Path) {
    let [a, b] = [a, b].map(|path| fs::read(path).expect("a file"));
    assert!(a == b, "the files differ");
}
