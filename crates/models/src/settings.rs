//! Settings from environment variables.

use std::{env, ffi::OsString, fmt, fs::File, io::Read, path::PathBuf, time::Duration};

/// The hub, unless `HF_ENDPOINT` names another address.
const HUB: &str = "https://huggingface.co";

/// Longest token that is read from a file, in bytes.
const MAX_TOKEN_BYTES: u64 = 4096;

/// What the environment says, read once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Directory of installed models: `SOUNDALIKE_MODELS`, else `$XDG_DATA_HOME/soundalike/models`, else
    /// `~/.local/share/soundalike/models`. `None` without a home directory.
    pub models: Option<PathBuf>,
    /// A registry besides the built-in one: `SOUNDALIKE_REGISTRY`.
    pub registry: Option<PathBuf>,
    /// The hub's cache: `HF_HUB_CACHE`, else `$HF_HOME/hub`, else `$XDG_CACHE_HOME/huggingface/hub`, else
    /// `~/.cache/huggingface/hub`.
    pub hub_cache: Option<PathBuf>,
    /// Address of the hub, without a slash at its end: `HF_ENDPOINT`.
    pub endpoint: String,
    /// Whether requests are forbidden: `HF_HUB_OFFLINE`.
    pub offline: bool,
    /// For the hub: `HF_TOKEN`, else the file `HF_TOKEN_PATH`, else `$HF_HOME/token`.
    pub token: Option<Token>,
    /// Longest wait for the start of an answer: `HF_HUB_ETAG_TIMEOUT` in seconds, 30 s by default.
    pub answer_timeout: Duration,
    /// Longest time in which next to nothing arrives: `HF_HUB_DOWNLOAD_TIMEOUT` in seconds, 30 s by default.
    pub stall_timeout: Duration,
}

/// A secret for the hub. Its text is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token without the white space around it. `None` if it is empty or could not be sent in a header.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.to_owned()))
    }

    /// Value of the header `Authorization`.
    pub(crate) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(...)")
    }
}

impl Settings {
    /// Reads the variables of this process.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::read(|name| env::var_os(name), env::home_dir())
    }

    /// Reads variables by `variable`. An empty one counts as unset.
    fn read(variable: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| variable(name)?.into_string().ok();
        let switch = |name: &str| text(name).is_some_and(|value| is_true(&value));
        let seconds = |name: &str, default: u64| {
            let given = text(name).and_then(|value| value.trim().parse().ok());
            // 0 would mean no limit, and a day is as good as none.
            Duration::from_secs(given.unwrap_or(default).clamp(1, 86_400))
        };
        let below_home = |path: &str| Some(home.as_ref()?.join(path));
        let path = |name: &str| {
            let path = PathBuf::from(variable(name)?);
            // As the hub's own library reads these variables.
            match path.strip_prefix("~") {
                Ok(rest) => home.as_ref().map(|home| home.join(rest)),
                Err(_) => Some(path),
            }
        };

        let data = path("XDG_DATA_HOME").or_else(|| below_home(".local/share"));
        let caches = path("XDG_CACHE_HOME").or_else(|| below_home(".cache"));
        let hub_home = path("HF_HOME").or_else(|| Some(caches?.join("huggingface")));
        let in_hub_home = |name: &str| Some(hub_home.as_ref()?.join(name));
        let token_file = || path("HF_TOKEN_PATH").or_else(|| in_hub_home("token"));
        let token = || {
            let given = text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN"));
            Token::new(&given.or_else(|| start_of(&token_file()?))?)
        };
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| HUB.to_owned());
        Self {
            models: path("SOUNDALIKE_MODELS").or_else(|| Some(data?.join("soundalike/models"))),
            registry: path("SOUNDALIKE_REGISTRY"),
            hub_cache: path("HF_HUB_CACHE")
                .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
                .or_else(|| in_hub_home("hub")),
            endpoint: endpoint.trim().trim_end_matches('/').to_owned(),
            offline: switch("HF_HUB_OFFLINE"),
            token: match switch("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
                true => None,
                false => token(),
            },
            answer_timeout: seconds("HF_HUB_ETAG_TIMEOUT", 30),
            stall_timeout: seconds("HF_HUB_DOWNLOAD_TIMEOUT", 30),
        }
    }
}

/// Whether a variable of the hub's library is set to true. huggingface_hub `constants.py`.
fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].contains(&&*value.to_uppercase())
}

fn start_of(path: &PathBuf) -> Option<String> {
    let mut text = String::new();
    let file = File::open(path).ok()?.take(MAX_TOKEN_BYTES);
    { file }.read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Settings {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name)?;
            Some(OsString::from(found.1))
        };
        Settings::read(variable, Some("/home/me".into()))
    }

    #[test]
    fn directories_follow_the_more_special_variable() {
        let none = settings(&[]);
        let path = |path: &str| Some(PathBuf::from(path));
        assert_eq!(none.models, path("/home/me/.local/share/soundalike/models"));
        assert_eq!(none.hub_cache, path("/home/me/.cache/huggingface/hub"));
        assert_eq!(none.endpoint, HUB);
        assert!(!none.offline && none.token.is_none() && none.registry.is_none());
        for (variables, models, hub) in [
            (
                &[("XDG_DATA_HOME", "/d"), ("XDG_CACHE_HOME", "/c")][..],
                "/d/soundalike/models",
                "/c/huggingface/hub",
            ),
            (
                &[
                    ("SOUNDALIKE_MODELS", "/m"),
                    ("HF_HOME", "~/hf"),
                    ("XDG_DATA_HOME", "/d"),
                ],
                "/m",
                "/home/me/hf/hub",
            ),
            (
                &[
                    ("HF_HUB_CACHE", "/h"),
                    ("HF_HOME", "/hf"),
                    ("XDG_DATA_HOME", ""),
                ],
                "/home/me/.local/share/soundalike/models",
                "/h",
            ),
        ] {
            let found = settings(variables);
            assert_eq!(found.models, path(models), "{variables:?}");
            assert_eq!(found.hub_cache, path(hub), "{variables:?}");
        }
    }

    #[test]
    fn switches_and_times_are_those_of_the_hubs_library() {
        for (value, offline) in [
            ("1", true),
            ("true", true),
            ("Yes", true),
            ("0", false),
            ("", false),
        ] {
            let found = settings(&[("HF_HUB_OFFLINE", value)]);
            assert_eq!(found.offline, offline, "{value}");
        }
        for (value, expected) in [("3", 3), ("0", 1), ("x", 30), ("99999999999", 86_400)] {
            let found = settings(&[("HF_HUB_DOWNLOAD_TIMEOUT", value)]);
            assert_eq!(found.stall_timeout.as_secs(), expected, "{value}");
        }
        assert_eq!(
            settings(&[("HF_ENDPOINT", "https://a.b/ ")]).endpoint,
            "https://a.b"
        );
    }

    #[test]
    fn a_token_comes_from_a_variable_or_a_file_and_is_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "hf_file\n").unwrap();
        let home = folder.path().to_str().unwrap();
        let found = settings(&[("HF_HOME", home)]).token.unwrap();
        assert_eq!(found.header(), "Bearer hf_file");
        assert!(!format!("{found:?}").contains("hf_file"));
        let both = settings(&[("HF_HOME", home), ("HF_TOKEN", " hf_variable ")]);
        assert_eq!(both.token.unwrap().header(), "Bearer hf_variable");
        let refused = [("HF_HOME", home), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")];
        assert_eq!(settings(&refused).token, None);
        // It would end the header.
        assert_eq!(Token::new("hf\r\nX: y"), None);
    }
}
