//! The proxy of the environment.
//!
//! ureq reads these variables as well, but connects directly where it cannot use the proxy that they name, and takes
//! `ALL_PROXY` first.

use ureq::{Proxy, ProxyProtocol};

/// Variables that name a proxy, in order.
const VARIABLES: [&str; 6] = [
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "HTTP_PROXY",
    "http_proxy",
];

/// The proxy that `variable` names; the name of the variable if its proxy is of another kind than http and https. An empty
/// variable counts as unset.
pub(crate) fn proxy(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Proxy>, &'static str> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let named = VARIABLES.iter().find_map(|name| Some((*name, set(name)?)));
    let Some((name, address)) = named else {
        return Ok(None);
    };
    let given = Proxy::new(address.trim()).map_err(|_| name)?;
    let protocol = given.protocol();
    if !matches!(protocol, ProxyProtocol::Http | ProxyProtocol::Https) {
        return Err(name);
    }
    let mut proxy = Proxy::builder(protocol)
        .host(given.host())
        .port(given.port());
    if let Some(user) = given.username() {
        proxy = proxy.username(user);
    }
    if let Some(password) = given.password() {
        proxy = proxy.password(password);
    }
    let exceptions = set("NO_PROXY").or_else(|| set("no_proxy"));
    for exception in exceptions.unwrap_or_default().split(',').map(str::trim) {
        let host = exception.trim_start_matches("*.").trim_start_matches('.');
        if !host.is_empty() {
            // As in curl, a host stands for those below it, too.
            proxy = proxy.no_proxy(host).no_proxy(&format!(".{host}"));
        }
    }
    proxy.build().map(Some).map_err(|_| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<Proxy>, &'static str> {
        proxy(|name| {
            let found = variables.iter().find(|(key, _)| *key == name)?;
            Some(found.1.to_owned())
        })
    }

    #[test]
    fn the_variable_for_https_comes_first_and_other_kinds_are_refused() {
        let http = "http://me:se%40cret@p:8080";
        for variables in [
            &[("HTTPS_PROXY", http)][..],
            &[("HTTPS_PROXY", ""), ("http_proxy", http)],
            &[("https_proxy", http), ("all_proxy", "socks5://p:1080")],
        ] {
            let found = of(variables).unwrap().unwrap();
            assert_eq!((found.host(), found.port()), ("p", 8080), "{variables:?}");
            assert_eq!(
                (found.username(), found.password()),
                (Some("me"), Some("se@cret"))
            );
        }
        assert_eq!(of(&[("HTTPS_PROXY", "p:1")]).unwrap().unwrap().port(), 1);
        assert!(of(&[]).unwrap().is_none());
        for address in ["socks5://p:1080", "socks5h://p", "ftp://p", "no address"] {
            assert_eq!(
                of(&[("ALL_PROXY", address)]).unwrap_err(),
                "ALL_PROXY",
                "{address}"
            );
        }
    }

    #[test]
    fn exceptions_are_hosts_and_those_below_them() {
        for (exceptions, host, direct) in [
            ("a.b", "a.b", true),
            ("a.b", "x.a.b", true),
            ("x, a.b", "a.b", true),
            (".a.b", "a.b", true),
            ("*.a.b", "x.a.b", true),
            ("*", "a.b", true),
            ("a.b", "xa.b", false),
            ("", "a.b", false),
        ] {
            let found = of(&[("HTTPS_PROXY", "http://p"), ("NO_PROXY", exceptions)]);
            let uri = format!("https://{host}/").parse().unwrap();
            let found = found.unwrap().unwrap().is_no_proxy(&uri);
            assert_eq!(found, direct, "{exceptions}: {host}");
        }
    }
}
