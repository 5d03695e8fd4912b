//! What stands in place of a model: the leftovers of downloads.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::name::quoted_name;

/// Something that a download left in place of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAModel {
    /// The text that git keeps in place of a large file.
    #[error("is a Git LFS pointer to a file of {0} bytes, not the file; run `git lfs pull`")]
    LfsPointer(u64),
    /// A web page: a login, or a proxy's notice.
    #[error("is a web page ({}), not a model; download the file itself", quoted_name(.0))]
    WebPage(String),
    /// A server's words in place of the file.
    #[error("is text, not a model: {}; it may be a server's refusal, download the file again", quoted_name(.0))]
    Text(String),
    /// An interrupted download, by its name.
    #[error("is an interrupted download; download the file again")]
    Interrupted,
    /// A link to a file that does not exist, as in a cache that was copied without its blobs.
    #[error(
        "is a link to {}, which does not exist; if this is a copy of a cache, copy it with its blobs, or follow links (cp -rL)",
        .0.display()
    )]
    DanglingLink(PathBuf),
}

/// First line of a pointer. <https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/";
/// Largest pointer, and largest text that is shown as such, in bytes.
const MAX_TEXT: usize = 4096;
/// Ends of the names of unfinished downloads: the hub's, ours, browsers'.
const UNFINISHED: [&str; 3] = ["incomplete", "part", "crdownload"];

impl NotAModel {
    /// A pointer or a web page, which no file of a model or a pipeline is.
    pub(crate) fn of_any_file(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(LFS) {
            return Some(Self::LfsPointer(pointed(bytes)));
        }
        let start = &bytes[..bytes.len().min(MAX_TEXT)];
        let text = String::from_utf8_lossy(start);
        let page = text
            .trim_start_matches('\u{feff}')
            .trim_start()
            .to_lowercase();
        (page.starts_with("<!doctype html") || page.starts_with("<html")).then(|| {
            let title = page
                .split_once("<title>")
                .and_then(|(_, rest)| rest.split_once("</title>"));
            let title = title.and_then(|(title, _)| {
                // In the letters of the file.
                let at = text.to_lowercase().find(title)?;
                text.get(at..at + title.len())
            });
            Self::WebPage(title.unwrap_or("without a title").trim().to_owned())
        })
    }

    /// A short text, which no model is.
    pub(crate) fn of_text(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.trim();
        let control = |c: char| c.is_control() && !c.is_whitespace();
        let readable = bytes.len() <= MAX_TEXT && !text.is_empty() && !text.contains(control);
        readable.then(|| Self::Text(text.to_owned()))
    }

    /// An unfinished download, by its name.
    pub(crate) fn by_name(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?;
        UNFINISHED.contains(&extension).then_some(Self::Interrupted)
    }

    /// A link whose target does not exist.
    pub(crate) fn dangling(path: &Path) -> Option<Self> {
        let target = std::fs::read_link(path).ok()?;
        let error = path.metadata().err()?;
        (error.kind() == io::ErrorKind::NotFound).then_some(Self::DanglingLink(target))
    }
}

/// The size in a pointer, 0 if it has none.
fn pointed(bytes: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_TEXT)]);
    let size = text.lines().find_map(|line| line.strip_prefix("size "));
    size.and_then(|size| size.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_download_leaves_is_recognised_and_a_model_is_not() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:36\nsize 26645418\n";
        assert_eq!(
            NotAModel::of_any_file(pointer),
            Some(NotAModel::LfsPointer(26_645_418))
        );
        let page = |title: &str| Some(NotAModel::WebPage(title.into()));
        for (bytes, expected) in [
            (
                &b"<!DOCTYPE html>\n<html><head><title>Log In</title>"[..],
                page("Log In"),
            ),
            (b" \n<HTML lang=en>", page("without a title")),
            (b"\xef\xbb\xbf<html>", page("without a title")),
            (
                "<html><title>\u{130}Log In</title>".as_bytes(),
                page("\u{130}Log In"),
            ),
            (b"PK\x03\x04<html>", None),
            (b"pipeline: {}", None),
        ] {
            let found = NotAModel::of_any_file(bytes);
            assert_eq!(found.is_some(), expected.is_some(), "{bytes:?}");
            // A letter that changes its length in lower case costs the title, no more.
            if !bytes.contains(&0xc4) {
                assert_eq!(found, expected);
            }
        }
        let refusal = b"Invalid username or password.\n";
        assert_eq!(
            NotAModel::of_text(refusal),
            Some(NotAModel::Text("Invalid username or password.".into()))
        );
        for bytes in [
            &b""[..],
            b"\x80\x02}q\x00.",
            b"\x08\x07\x12\x07pytorch",
            &[b'a'; MAX_TEXT + 1],
        ] {
            assert_eq!(NotAModel::of_text(bytes), None);
        }
    }
}
