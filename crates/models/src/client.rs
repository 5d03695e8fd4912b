//! Requests: one file, from one address, from a byte on.

use std::{
    env,
    io::Read,
    time::{Duration, Instant, SystemTime},
};

use ureq::{
    Agent, BodyReader,
    http::{HeaderMap, Response, StatusCode, header},
    tls::{RootCerts, TlsConfig},
};

use crate::{
    address::{Address, AddressError},
    proxy::proxy,
    settings::{Settings, Token},
};

/// Most redirects, and repetitions without a token, of one request.
const MAX_HOPS: usize = 6;
/// Longest time to connect, with the name looked up and the encryption agreed on.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of a refusal that are read, and the time for it.
const MAX_REFUSAL_BYTES: usize = 2048;
const REFUSAL_TIME: Duration = Duration::from_secs(2);
/// Most characters of a refusal that are shown.
const SHOWN: usize = 200;

/// Why a request gave no file, or a file that is not the registry's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// No connection, or one that broke.
    #[error("cannot be reached: {error}{}", trust(error))]
    Connection {
        /// What happened.
        error: Box<ureq::Error>,
    },
    /// A proxy of another kind than http and https.
    #[error("was not requested: {0} is not an http or https proxy; change or unset it")]
    Proxy(&'static str),
    /// A redirect to an address that is refused.
    #[error("redirects to a refused address: {0}")]
    Redirect(AddressError),
    /// Redirects without end.
    #[error("redirects more than {MAX_HOPS} times")]
    Redirects,
    /// A status other than success.
    #[error("answered {status}{}{}", after(text), hint(*status))]
    Status {
        /// The number.
        status: u16,
        /// What the server wrote.
        text: String,
    },
    /// The server is busy for longer than we wait.
    #[error("answered {status}: busy, and asks to wait for {seconds} s")]
    Busy {
        /// The number.
        status: u16,
        /// The time.
        seconds: u64,
    },
    /// A page for people: a login, or a proxy's notice.
    #[error(
        "answered with a web page in place of the file; does a proxy or a login stand between?"
    )]
    WebPage,
    /// A part of the file that was not asked for.
    #[error("answered with another part of the file than was asked for")]
    Range,
    /// A file of another size.
    #[error("has {found} bytes{}, expected {expected}", if *more { " or more" } else { "" })]
    Size {
        /// Its size, as far as it is known.
        found: u64,
        /// Whether it may be larger.
        more: bool,
        /// Size in the registry.
        expected: u64,
    },
    /// A file with other contents.
    #[error("has SHA-256 {found}, expected {expected}")]
    Hash {
        /// Its SHA-256.
        found: String,
        /// SHA-256 in the registry.
        expected: String,
    },
    /// Next to nothing arrived for a while.
    #[error("sent {bytes} bytes in {seconds} s, which is too slow")]
    Slow {
        /// What arrived.
        bytes: u64,
        /// In this time.
        seconds: u64,
    },
    /// The connection was cut again and again.
    #[error("was cut off after {0} bytes, again and again")]
    Cut(u64),
}

/// What to do about a certificate that is not trusted.
fn trust(error: &ureq::Error) -> &'static str {
    match error.to_string().contains("certificate") {
        true => {
            "; if your network replaces certificates, add its own to the system's, or set SSL_CERT_FILE"
        }
        false => "",
    }
}

fn after(text: &str) -> String {
    match text.is_empty() {
        true => String::new(),
        false => format!(" ({text})"),
    }
}

fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => {
            "; it may require an account: accept its conditions on the hub, and set HF_TOKEN"
        }
        404 => "; it has been moved or removed",
        _ => "",
    }
}

/// The start of an answer.
pub(crate) struct Reply {
    /// The first byte of the file that the body holds.
    pub(crate) start: u64,
    /// Length of the body, if the server says it.
    pub(crate) length: Option<u64>,
    pub(crate) body: BodyReader<'static>,
}

/// How a request ended other than with a [`Reply`].
pub(crate) enum Refusal {
    /// For good.
    Problem(Problem),
    /// The connection broke; it may work again.
    Broken(ureq::Error),
    /// Busy: ask again after this time.
    Later { status: u16, wait: Duration },
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// Requests files.
pub(crate) struct Client {
    agent: Agent,
    token: Option<Token>,
    hub: Address,
    /// The variable that names a proxy which cannot be used.
    bad_proxy: Option<&'static str>,
}

impl Client {
    /// A client for the hub at `hub`.
    pub(crate) fn new(settings: &Settings, hub: Address) -> Self {
        let (proxy, bad_proxy) = match proxy(|name| env::var(name).ok()) {
            Ok(proxy) => (proxy, None),
            Err(name) => (None, Some(name)),
        };
        let certificates = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
        let config = Agent::config_builder()
            .user_agent(concat!("soundalike/", env!("CARGO_PKG_VERSION")))
            .tls_config(certificates.build())
            .proxy(proxy)
            .http_status_as_error(false)
            // Followed here, so that each address is checked and no token goes along.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(settings.answer_timeout))
            .timeout_per_read(Some(settings.stall_timeout))
            // An answer is hashed and counted as it is sent.
            .accept_encoding("identity");
        Self {
            agent: config.build().new_agent(),
            token: settings.token.clone(),
            hub,
            bad_proxy,
        }
    }

    /// Requests `address` from byte `offset` on.
    pub(crate) fn get(&self, address: &Address, offset: u64) -> Result<Reply, Refusal> {
        let mut here = address.clone();
        let mut trusted = true;
        for _ in 0..=MAX_HOPS {
            // Once away, a redirect back does not earn the token again.
            trusted &= here.same_origin(address);
            if let Some(name) = self.bad_proxy.filter(|_| !here.is_loopback()) {
                return Err(Problem::Proxy(name).into());
            }
            let token = self.token_for(&here).filter(|_| trusted);
            let with_token = token.is_some();
            let response = self
                .request(&here, offset, token)
                .map_err(Refusal::Broken)?;
            let status = response.status();
            if status.is_redirection()
                && let Some(location) = text(response.headers(), header::LOCATION.as_str())
            {
                here = here.redirected(location).map_err(Problem::Redirect)?;
                continue;
            }
            // An expired token is refused even where none is needed.
            if status == StatusCode::UNAUTHORIZED && with_token {
                trusted = false;
                continue;
            }
            return reply(response, offset);
        }
        Err(Problem::Redirects.into())
    }

    /// The token, where it may be sent: to the hub, over https.
    fn token_for(&self, address: &Address) -> Option<&Token> {
        let allowed = address.is_https() && address.same_origin(&self.hub);
        self.token.as_ref().filter(|_| allowed)
    }

    fn request(
        &self,
        address: &Address,
        offset: u64,
        token: Option<&Token>,
    ) -> Result<Response<ureq::Body>, ureq::Error> {
        let mut request = self.agent.get(address.uri());
        if address.is_loopback() {
            // A proxy's loopback is another machine.
            request = request.config().proxy(None).build();
        }
        if offset > 0 {
            request = request.header(header::RANGE, format!("bytes={offset}-"));
        }
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, token.header());
        }
        request.call()
    }
}

/// Judges an answer to a request from byte `offset` on.
fn reply(response: Response<ureq::Body>, offset: u64) -> Result<Reply, Refusal> {
    let status = response.status();
    let headers = response.headers();
    let start = match status {
        StatusCode::OK => 0,
        StatusCode::PARTIAL_CONTENT => {
            let start = text(headers, "content-range").and_then(first_byte);
            start
                .filter(|start| *start == offset)
                .ok_or(Problem::Range)?
        }
        StatusCode::RANGE_NOT_SATISFIABLE => return Err(Problem::Range.into()),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let wait = text(headers, "retry-after").and_then(wait);
            if let Some(wait) = wait {
                return Err(Refusal::Later {
                    status: status.as_u16(),
                    wait,
                });
            }
            return Err(refused(response).into());
        }
        _ => return Err(refused(response).into()),
    };
    let html = text(headers, "content-type").is_some_and(|kind| kind.starts_with("text/html"));
    if html {
        return Err(Problem::WebPage.into());
    }
    let body = response.into_body();
    Ok(Reply {
        start,
        length: body.content_length(),
        body: body.into_reader(),
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The first byte of `bytes 5-9/10`.
fn first_byte(range: &str) -> Option<u64> {
    range
        .strip_prefix("bytes ")?
        .split('-')
        .next()?
        .trim()
        .parse()
        .ok()
}

/// The time of a `Retry-After`: seconds, or a date.
fn wait(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// A status that is no success, with the server's words: the hub has a header for them.
fn refused(response: Response<ureq::Body>) -> Problem {
    let status = response.status().as_u16();
    let headers = response.headers();
    let message = text(headers, "x-error-message").map(str::to_owned);
    let plain = text(headers, "content-type").is_some_and(|kind| kind.starts_with("text/plain"));
    let message = message.or_else(|| plain.then(|| start_of(response.into_body())));
    let message = message.unwrap_or_default();
    let words: String = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let visible = words.chars().filter(|c| !c.is_control()).take(SHOWN);
    Problem::Status {
        status,
        text: visible.collect(),
    }
}

/// The first bytes of a body, as far as they come quickly.
fn start_of(body: ureq::Body) -> String {
    let mut reader = body.into_reader();
    let deadline = Instant::now() + REFUSAL_TIME;
    let mut bytes = vec![0; MAX_REFUSAL_BYTES];
    let mut filled = 0;
    while filled < bytes.len() && Instant::now() < deadline {
        match reader.read(&mut bytes[filled..]) {
            Ok(0) | Err(_) => break,
            Ok(read) => filled += read,
        }
    }
    String::from_utf8_lossy(&bytes[..filled]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_for_the_https_host_of_the_hub_alone() {
        let settings = Settings {
            token: Token::new("hf_secret"),
            ..Settings::from_environment()
        };
        let sent = |hub: &str, to: &str| {
            let client = Client::new(&settings, Address::parse(hub).unwrap());
            client.token_for(&Address::parse(to).unwrap()).is_some()
        };
        for (hub, to, expected) in [
            ("https://hub.a", "https://hub.a/m/f", true),
            ("https://hub.a", "https://HUB.a:443/m/f", true),
            ("https://hub.a", "https://hub.a:444/m/f", false),
            ("https://hub.a", "https://cdn.hub.a/m/f", false),
            ("https://hub.a", "https://hub.a.b/m/f", false),
            ("https://hub.a", "http://localhost/m/f", false),
            ("http://localhost:1", "http://localhost:1/m/f", false),
        ] {
            assert_eq!(sent(hub, to), expected, "{hub} {to}");
        }
    }

    #[test]
    fn a_time_to_wait_is_seconds_or_a_date() {
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert!(wait("Fri, 31 Dec 9999 23:59:59 GMT").unwrap().as_secs() > 1 << 32);
        assert_eq!(wait("soon"), None);
        assert_eq!(first_byte("bytes 5-9/10"), Some(5));
        assert_eq!(first_byte("bytes */10"), None);
    }
}
