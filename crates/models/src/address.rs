//! Addresses that may be requested: https, or http on this machine.

use std::fmt;

use ureq::http::{Uri, uri::Scheme};

/// Longest address, in bytes.
const MAX_ADDRESS_BYTES: usize = 8192;

/// An address of a file: https, or plain http on the loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Uri);

/// Why a text is not an [`Address`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It has no scheme, no host, or characters that no address has.
    #[error("{0} is not an address, expected https://HOST/PATH")]
    Malformed(String),
    /// Plain http, which anybody on the way can read and change.
    #[error("{0} is not https, which is required outside of this machine")]
    Insecure(String),
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// If it is none, or neither https nor on this machine.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let malformed = || AddressError::Malformed(shown(text));
        if text.len() > MAX_ADDRESS_BYTES || text.contains(char::is_control) {
            return Err(malformed());
        }
        let uri: Uri = text.parse().map_err(|_| malformed())?;
        let host = uri.host().ok_or_else(malformed)?;
        let secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => is_loopback(host),
            _ => return Err(malformed()),
        };
        match secure {
            true => Ok(Self(uri)),
            false => Err(AddressError::Insecure(shown(text))),
        }
    }

    /// The address of a redirect from here. From https, it leads to https only.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub(crate) fn redirected(&self, location: &str) -> Result<Self, AddressError> {
        let origin = format!("{}://{}", self.scheme(), self.authority());
        let absolute = if location.starts_with("//") {
            format!("{}:{location}", self.scheme())
        } else if location.starts_with('/') {
            origin + location
        } else if location.contains("://") {
            location.to_owned()
        } else {
            let folder = self
                .0
                .path()
                .rsplit_once('/')
                .map_or("", |(folder, _)| folder);
            format!("{origin}{folder}/{location}")
        };
        let target = Self::parse(&absolute)?;
        match self.is_https() && !target.is_https() {
            true => Err(AddressError::Insecure(target.to_string())),
            false => Ok(target),
        }
    }

    /// Whether both have one scheme, host and port.
    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        self.scheme() == other.scheme()
            && self.host().eq_ignore_ascii_case(other.host())
            && self.port() == other.port()
    }

    pub(crate) fn is_https(&self) -> bool {
        self.0.scheme() == Some(&Scheme::HTTPS)
    }

    /// Whether it leads to this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(self.host())
    }

    pub(crate) fn host(&self) -> &str {
        self.0.host().unwrap_or_default()
    }

    fn scheme(&self) -> &str {
        self.0.scheme_str().unwrap_or_default()
    }

    fn authority(&self) -> &str {
        self.0
            .authority()
            .map_or("", |authority| authority.as_str())
    }

    fn port(&self) -> u16 {
        let default = if self.is_https() { 443 } else { 80 };
        self.0.port_u16().unwrap_or(default)
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.0
    }
}

/// Without a user, a password and the query, which may hold secrets.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.authority();
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        write!(f, "{}://{host}{}", self.scheme(), self.0.path())
    }
}

/// As [`Display`](fmt::Display) of an address, for a text that may be none.
fn shown(text: &str) -> String {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    soundalike_convert::quoted_name(match path.split_once("://") {
        Some((_, rest)) if rest.contains('@') => "(an address with a password)",
        _ => path,
    })
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address: Result<std::net::IpAddr, _> = bare.parse();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn https_is_accepted_and_http_on_this_machine_only() {
        for text in [
            "https://a.b/c",
            "https://a.b:8443/c?d=e",
            "http://localhost:1/c",
            "http://127.0.0.1:1/c",
            "http://[::1]:1/c",
        ] {
            assert!(Address::parse(text).is_ok(), "{text}");
        }
        for text in [
            "http://a.b/c",
            "http://127.0.0.1.a.b/c",
            "http://localhost.a.b/c",
            "http://10.0.0.1/c",
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(
                matches!(error, AddressError::Insecure(_)),
                "{text}: {error}"
            );
        }
        let long = format!("https://a.b/{}", "c".repeat(MAX_ADDRESS_BYTES));
        for text in [
            "",
            "a.b/c",
            "/c",
            "ftp://a.b/c",
            "file:///c",
            "https://",
            "https://a b/",
            "https://a.b/\n",
            &long,
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(
                matches!(error, AddressError::Malformed(_)),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_redirect_is_read_from_where_it_comes() {
        let from = address("https://a.b/c/d");
        for (location, expected) in [
            ("https://x.y/z", "https://x.y/z"),
            ("//x.y/z", "https://x.y/z"),
            ("/z", "https://a.b/z"),
            ("z", "https://a.b/c/z"),
        ] {
            assert_eq!(
                from.redirected(location).unwrap(),
                address(expected),
                "{location}"
            );
        }
        for location in ["http://a.b/c", "http://127.0.0.1/c", "file:///c"] {
            assert!(from.redirected(location).is_err(), "{location}");
        }
        let here = address("http://localhost/c");
        assert!(here.redirected("https://a.b/").is_ok());
        assert!(here.redirected("http://127.0.0.1:1/").is_ok());
        assert!(here.redirected("http://a.b/").is_err());
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let hub = address("https://a.b/c");
        for text in ["https://a.b/d", "https://A.b:443/"] {
            assert!(hub.same_origin(&address(text)), "{text}");
        }
        for text in ["https://a.b:444/", "https://x.a.b/", "https://a.b.x/"] {
            assert!(!hub.same_origin(&address(text)), "{text}");
        }
        assert!(!address("http://localhost/").same_origin(&address("https://localhost/")));
    }

    #[test]
    fn what_is_shown_has_no_secrets() {
        let shown = address("https://me:secret@a.b/c?signature=secret").to_string();
        assert_eq!(shown, "https://a.b/c");
        for text in ["http://a.b/c?secret", "http://me:secret@a.b/c"] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
