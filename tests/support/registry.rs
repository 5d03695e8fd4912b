//! A registry made by a test.

use soundalike_convert::sha256;

/// A registry of one model, which is its default: revision `r1`, `me/NAME` on the hub.
pub(crate) fn registry(
    name: &str,
    kind: &str,
    files: &[(&str, &[u8])],
    mirrors: &[String],
) -> String {
    let file = |(path, bytes): &(&str, &[u8])| {
        let (size, sha256) = (bytes.len(), sha256([*bytes]));
        format!(
            "[[models.{name}.files]]\npath = \"{path}\"\nsize = {size}\nsha256 = \"{sha256}\"\n"
        )
    };
    let files: String = files.iter().map(file).collect();
    format!(
        "format = 1\ndefault = \"{name}\"\n[licences.MIT]\nurl = \"https://a.b\"\ntext = \"The MIT text.\"\n\
         [citations]\npaper = \"@article{{{name}}}\"\n\
         [models.{name}]\nkind = \"{kind}\"\nabout = \"a small one\"\nlicences = [\"MIT\"]\nattribution = \"by me\"\n\
         cite = [\"paper\"]\nrevision = \"r1\"\nhub = [\"me/{name}\"]\nmirrors = {mirrors:?}\n{files}"
    )
}
