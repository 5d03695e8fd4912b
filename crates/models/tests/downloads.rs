//! Downloads from a server in the test, with each fault of a network. No request leaves this machine.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed"
)]

#[path = "../../convert/tests/support/mod.rs"]
mod checkpoint;
#[path = "../../../tests/support/registry.rs"]
mod registry;
#[path = "../../../tests/support/server.rs"]
mod server;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use checkpoint::{CONFIG, Checkpoint};
use server::{Fault, Request, Server};
use soundalike_convert::{PipelineDirectory, sha256};
use soundalike_models::{Catalogue, CopyFrom, Error, Event, Origin, Settings};

/// A pipeline of one small network, as a registry and a server have it.
struct Pipeline {
    weights: Vec<u8>,
}

impl Pipeline {
    fn new() -> Self {
        Self {
            weights: Checkpoint::small().zip(),
        }
    }

    /// The files, with the paths of a server.
    fn files(&self, below: &str) -> Vec<(String, Vec<u8>)> {
        vec![
            (format!("{below}/config.yaml"), CONFIG.into()),
            (
                format!("{below}/segmentation/pytorch_model.bin"),
                self.weights.clone(),
            ),
        ]
    }

    fn registry(&self, mirrors: &[String]) -> String {
        let files = [
            ("config.yaml", CONFIG.as_bytes()),
            ("segmentation/pytorch_model.bin", &self.weights[..]),
        ];
        registry::registry("small", "pipeline", &files, mirrors)
    }
}

/// An empty home, and a registry of the small pipeline.
struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new(mirrors: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = Pipeline::new().registry(mirrors);
        fs::write(folder.path().join("registry.toml"), registry).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn settings(&self) -> Settings {
        Settings {
            models: Some(self.path("models")),
            registry: Some(self.path("registry.toml")),
            hub_cache: Some(self.path("hub")),
            endpoint: "https://hub.invalid".into(),
            offline: false,
            token: None,
            answer_timeout: Duration::from_secs(1),
            stall_timeout: Duration::from_secs(1),
        }
    }

    fn catalogue(&self) -> Catalogue {
        Catalogue::open(self.settings(), None).unwrap()
    }

    fn part(&self) -> PathBuf {
        self.path("models/small/.r1.download/segmentation/pytorch_model.bin.part")
    }

    /// Downloads; the result, and the addresses that failed.
    fn get(&self) -> (Result<PathBuf, Error>, Vec<String>) {
        let mut failed = Vec::new();
        let got = self.catalogue().get("small", None, &mut |event| {
            if let Event::Failed(failure) = event {
                failed.push(failure.to_string());
            }
        });
        (got.map(|installed| installed.path()), failed)
    }

    /// Downloads, and checks what is there afterwards.
    #[track_caller]
    fn ok(&self) -> Vec<String> {
        let (got, failed) = self.get();
        let path = got.unwrap_or_else(|error| panic!("{error}"));
        PipelineDirectory::read(&path).unwrap();
        assert!(!self.path("models/small/.r1.download").exists());
        assert!(!self.path("models/small/.r1.new").exists());
        failed
    }

    /// Downloads in vain; nothing counts as installed.
    #[track_caller]
    fn error(&self) -> String {
        let (got, _) = self.get();
        let error = got.unwrap_err().to_string();
        assert!(!self.path("models/small/r1").exists());
        error
    }
}

fn weights(request: &Request) -> bool {
    request.path.ends_with(".bin")
}

/// A server of the pipeline whose weights have faults: the first requests of them, in order.
fn faulty(faults: Vec<Fault>) -> Server {
    let mut faults = faults.into_iter();
    Server::new(Pipeline::new().files("/m"), move |request, _| {
        if weights(request) {
            faults.next()
        } else {
            None
        }
    })
}

/// A server whose weights always have one fault.
fn always(fault: Fault) -> Server {
    Server::new(Pipeline::new().files("/m"), move |request, _| {
        weights(request).then(|| fault.clone())
    })
}

fn mirror(server: &Server) -> String {
    format!("{}/m", server.address())
}

/// Offsets of the requests for weights.
fn offsets(server: &Server) -> Vec<usize> {
    let requests = server.requests();
    let weights = requests.iter().filter(|request| weights(request));
    weights.map(Request::offset).collect()
}

#[test]
fn a_model_is_downloaded_converted_and_found_without_another_request() {
    let server = faulty(vec![]);
    let home = Home::new(&[mirror(&server)]);
    assert!(home.ok().is_empty());
    let read = |name: &str| fs::read_to_string(home.path("models/small/r1").join(name)).unwrap();
    assert_eq!(read("citation.bib"), "@article{small}");
    for text in ["by me", "values are unchanged", "The MIT text."] {
        assert!(read("LICENCE.txt").contains(text), "{text}");
    }
    let before = server.requests().len();
    home.ok();
    let catalogue = home.catalogue();
    let small = catalogue.model("me/small").unwrap();
    for name in ["small", "me/small", "ME/small", "me/small@r1"] {
        let found = catalogue.locate(Path::new(name)).unwrap();
        assert_eq!(found.origin, Origin::Installed, "{name}");
    }
    assert_eq!(server.requests().len(), before);

    let installed = catalogue.installed(small).unwrap();
    assert_eq!(installed.verify(), []);
    let bundle = home.path("models/small/r1/segmentation.safetensors");
    let mut bytes = fs::read(&bundle).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&bundle, bytes).unwrap();
    let damage = installed.verify();
    assert_eq!(damage.len(), 1);
    assert!(
        damage[0]
            .to_string()
            .contains("segmentation.safetensors: has SHA-256")
    );
    // It is installed again.
    home.ok();
    assert!(catalogue.installed(small).unwrap().is_intact());
    assert_eq!(server.requests().len(), 2 * before);
    // A model without a file does not count as installed.
    fs::remove_file(&bundle).unwrap();
    assert!(catalogue.installed(small).is_none());
    home.ok();

    // A record makes no path outside of its directory.
    let record = home.path("models/small/r1/installed.json");
    let right = fs::read_to_string(&record).unwrap();
    for (from, to) in [
        ("\"small\"", "\"../small\""),
        ("\"r1\"", "\"r2\""),
        ("\"citation.bib\"", "\"/etc/passwd\""),
    ] {
        assert!(right.contains(from), "{right}");
        fs::write(&record, right.replace(from, to)).unwrap();
        assert!(catalogue.store().unwrap().all().is_empty(), "{to}");
    }
    fs::write(&record, right).unwrap();

    let store = catalogue.store().unwrap();
    assert!(store.remove("small").unwrap() > 10_000);
    assert!(catalogue.installed(small).is_none());
    assert!(store.remove("small").is_err() && store.remove("..").is_err());
}

#[test]
fn a_cut_download_goes_on_where_it_stopped() {
    let server = faulty(vec![Fault::Cut(1000), Fault::Cut(500), Fault::Silent(100)]);
    let home = Home::new(&[mirror(&server)]);
    assert!(home.ok().is_empty());
    assert_eq!(offsets(&server), [0, 1000, 1500, 1600]);
}

#[test]
fn a_part_of_an_earlier_run_is_continued_or_thrown_away() {
    let server = faulty(vec![]);
    let home = Home::new(&[mirror(&server)]);
    let begin = |bytes: &[u8]| {
        fs::create_dir_all(home.part().parent().unwrap()).unwrap();
        fs::write(home.part(), bytes).unwrap();
    };
    let right = Pipeline::new().weights;
    begin(&right[..2000]);
    home.ok();
    assert_eq!(offsets(&server), [2000]);
    // Of another file; too long; already complete.
    for (bytes, expected) in [
        (vec![1; 2000], &[2000, 0][..]),
        (vec![1; right.len()], &[0]),
        (vec![1; right.len() + 1], &[0]),
        (right.clone(), &[]),
    ] {
        home.catalogue().store().unwrap().remove("small").unwrap();
        let before = offsets(&server).len();
        begin(&bytes);
        home.ok();
        assert_eq!(&offsets(&server)[before..], expected);
    }
}

#[test]
fn what_is_here_survives_an_answer_with_another_length() {
    let right = Pipeline::new().weights;
    // The server has something else in its place, or sends a part of what was asked for.
    for (fault, expected) in [
        (Fault::Whole(b"{}".to_vec()), &[2000, 2000]),
        (Fault::Piece(1000), &[2000, 3000]),
    ] {
        let server = faulty(vec![fault.clone()]);
        let home = Home::new(&[mirror(&server), mirror(&server)]);
        fs::create_dir_all(home.part().parent().unwrap()).unwrap();
        fs::write(home.part(), &right[..2000]).unwrap();
        home.ok();
        assert_eq!(offsets(&server), expected, "{fault:?}");
    }
}

#[test]
fn a_server_without_ranges_or_lengths_works() {
    for faults in [
        vec![Fault::NoLength],
        vec![Fault::Cut(1000), Fault::NoRange],
        vec![Fault::Cut(1000), Fault::NoLength],
    ] {
        let server = faulty(faults.clone());
        let home = Home::new(&[mirror(&server)]);
        assert!(home.ok().is_empty(), "{faults:?}");
    }
}

#[test]
fn a_bad_mirror_is_told_and_the_next_one_is_asked() {
    let right = Pipeline::new().weights;
    let mut flipped = right.clone();
    flipped[100] ^= 1;
    let status = |status, headers, text| Fault::Status(status, headers, text);
    let mut slow = Vec::new();
    for (fault, parts) in [
        (Fault::Body(flipped), &["has SHA-256", ", expected"][..]),
        (Fault::Body(right[1..].to_vec()), &["bytes, expected"]),
        (
            Fault::Body([&right[..], b"x"].concat()),
            &["bytes, expected"],
        ),
        (Fault::Endless, &["bytes or more, expected"]),
        (Fault::Cut(0), &["was cut off after 0 bytes"]),
        (Fault::Slow(10, Duration::from_millis(20)), &["too slow"]),
        (
            status(401, vec![], "Invalid username or password."),
            &["answered 401 (Invalid username or password.)", "HF_TOKEN"],
        ),
        (
            status(
                403,
                vec![("X-Error-Message", "Access to model x is restricted".into())],
                "no",
            ),
            &[
                "answered 403 (Access to model x is restricted)",
                "accept its conditions",
            ],
        ),
        (
            status(404, vec![], ""),
            &["answered 404", "moved or removed"],
        ),
        (status(500, vec![], ""), &["answered 500"]),
        (
            status(429, vec![], "slow down"),
            &["answered 429 (slow down)"],
        ),
        (
            status(429, vec![("Retry-After", "100000".into())], ""),
            &["answered 429: busy", "100000 s"],
        ),
        (
            status(
                503,
                vec![("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT".into())],
                "",
            ),
            &["answered 503: busy"],
        ),
        (
            status(
                302,
                vec![("Location", "http://example.invalid/x".into())],
                "",
            ),
            &["redirects to", "is not https"],
        ),
        (
            status(302, vec![("Location", "file:///etc/passwd".into())], ""),
            &["redirects to"],
        ),
        (
            status(302, vec![("Location", "pytorch_model.bin".into())], ""),
            &["redirects more than"],
        ),
        (status(302, vec![], ""), &["answered 302"]),
        (status(206, vec![], "x"), &["another part"]),
    ] {
        let bad = always(fault.clone());
        let good = faulty(vec![]);
        let started = Instant::now();
        let home = Home::new(&[mirror(&bad), mirror(&good)]);
        let failed = home.ok();
        assert_eq!(failed.len(), 1, "{fault:?}");
        for part in parts {
            assert!(failed[0].contains(part), "{part}: {failed:?}");
        }
        assert!(failed[0].starts_with(&mirror(&bad)), "{failed:?}");
        if started.elapsed() > Duration::from_secs(5) {
            slow.push(format!("{fault:?}"));
        }

        // Without another mirror, the error has all of it.
        let alone = Home::new(&[mirror(&bad)]);
        let error = alone.error();
        assert!(
            error.contains("segmentation/pytorch_model.bin of small could not be downloaded"),
            "{error}"
        );
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    assert!(slow.is_empty(), "{slow:?}");
}

#[test]
fn a_web_page_in_place_of_a_file_is_told_as_such() {
    let page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>Log in</html>";
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            use std::io::{Read, Write};
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(page);
        }
    });
    let home = Home::new(&[address]);
    assert!(
        home.error().contains("answered with a web page"),
        "{}",
        home.error()
    );
}

#[test]
fn a_busy_server_gets_the_time_it_asks_for() {
    let busy = |wait: &str| Fault::Status(429, vec![("Retry-After", wait.into())], "");
    let server = faulty(vec![busy("1"), busy("0")]);
    let home = Home::new(&[mirror(&server)]);
    let started = Instant::now();
    assert!(home.ok().is_empty());
    assert!(started.elapsed() >= Duration::from_secs(1));
    // It may not ask forever.
    let server = always(busy("0"));
    let home = Home::new(&[mirror(&server)]);
    assert!(home.error().contains("answered 429: busy"));
    assert_eq!(offsets(&server).len(), 4);
}

#[test]
fn a_redirect_is_followed_to_another_host() {
    let files = faulty(vec![]);
    let target = format!(
        "http://localhost:{}/m/segmentation/pytorch_model.bin",
        files.port()
    );
    let mut locations = vec![target].into_iter();
    let hub = Server::new(Pipeline::new().files("/m"), move |request, _| {
        let location = weights(request).then(|| locations.next()).flatten()?;
        Some(Fault::Status(302, vec![("Location", location)], ""))
    });
    let home = Home::new(&[mirror(&hub)]);
    assert!(home.ok().is_empty());
    assert_eq!(offsets(&files), [0]);
}

#[test]
fn a_token_does_not_go_over_plain_http() {
    let server = faulty(vec![]);
    let home = Home::new(&["{hub}/m".to_owned()]);
    let settings = Settings {
        endpoint: server.address(),
        token: soundalike_models::Token::new("hf_secret"),
        ..home.settings()
    };
    Catalogue::open(settings, None)
        .unwrap()
        .get("small", None, &mut |_| {})
        .unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(
        requests
            .iter()
            .all(|request| !request.headers.contains_key("authorization"))
    );
}

#[test]
fn two_at_once_download_once() {
    let server = faulty(vec![Fault::Slow(20_000, Duration::ZERO)]);
    let home = Home::new(&[mirror(&server)]);
    let catalogue = Arc::new(home.catalogue());
    let runs: Vec<_> = (0..3)
        .map(|_| {
            let catalogue = Arc::clone(&catalogue);
            thread::spawn(move || catalogue.get("small", None, &mut |_| {}).unwrap().path())
        })
        .collect();
    let paths: Vec<_> = runs.into_iter().map(|run| run.join().unwrap()).collect();
    assert!(paths.iter().all(|path| *path == paths[0]));
    assert_eq!(server.requests().len(), 2);
    home.ok();
}

#[test]
fn of_several_that_remove_a_model_one_does() {
    let home = Home::new(&[]);
    let store = home.catalogue().store().unwrap().clone();
    fs::create_dir_all(store.root().join("small/r1")).unwrap();
    let remove = || store.remove("small").map_err(|error| error.to_string());
    let removed: Vec<_> = thread::scope(|scope| {
        let runs: Vec<_> = (0..8).map(|_| scope.spawn(remove)).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(removed.iter().filter(|result| result.is_ok()).count(), 1);
    for error in removed.into_iter().filter_map(Result::err) {
        assert!(error.starts_with("small is not installed"), "{error}");
    }
}

#[test]
fn a_local_copy_is_verified_as_well() {
    let pipeline = Pipeline::new();
    let home = Home::new(&["https://mirror.invalid".into()]);
    let copy = home.path("copy");
    fs::create_dir_all(copy.join("segmentation")).unwrap();
    fs::write(copy.join("config.yaml"), CONFIG).unwrap();
    let weights = copy.join("segmentation/pytorch_model.bin");
    let get = || {
        let settings = Settings {
            offline: true,
            ..home.settings()
        };
        let from = CopyFrom::parse(copy.to_str().unwrap());
        let got = Catalogue::open(settings, None)
            .unwrap()
            .get("small", Some(&from), &mut |_| {});
        got.map(|_| ()).map_err(|error| error.to_string())
    };
    assert!(
        get()
            .unwrap_err()
            .contains("does not exist, and small needs it")
    );
    let mut flipped = pipeline.weights.clone();
    flipped[100] ^= 1;
    for (bytes, problem) in [
        ([&pipeline.weights[..], b"x"].concat(), " bytes, expected "),
        (flipped, "has SHA-256 "),
    ] {
        fs::write(&weights, bytes).unwrap();
        let error = get().unwrap_err();
        assert!(error.contains(problem), "{error}");
        assert!(error.contains("this is not the file of small"), "{error}");
        assert!(!home.part().exists());
    }
    #[cfg(unix)]
    {
        // It has no end.
        fs::remove_file(&weights).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &weights).unwrap();
        assert!(get().unwrap_err().contains("has 0 bytes, expected"));
        fs::remove_file(&weights).unwrap();
    }
    fs::write(&weights, &pipeline.weights).unwrap();
    get().unwrap();
    home.ok();

    // Another address than the registry's.
    let server = faulty(vec![]);
    home.catalogue().store().unwrap().remove("small").unwrap();
    let from = CopyFrom::parse(&(mirror(&server) + "/"));
    home.catalogue()
        .get("small", Some(&from), &mut |_| {})
        .unwrap();
    assert_eq!(server.requests().len(), 2);
}

/// The hub's cache with the small pipeline, as the hub's library writes it.
#[cfg(unix)]
fn cache(home: &Home, commit: &str) -> PathBuf {
    use std::os::unix::fs::symlink;
    let folder = home.path("hub/models--me--small");
    let snapshot = folder.join("snapshots").join(commit);
    for directory in [
        &snapshot.join("segmentation"),
        &folder.join("blobs"),
        &folder.join("refs"),
    ] {
        fs::create_dir_all(directory).unwrap();
    }
    fs::write(folder.join("refs/main"), commit).unwrap();
    let weights = Pipeline::new().weights;
    let name = sha256([&*weights]);
    fs::write(folder.join("blobs").join(&name), weights).unwrap();
    fs::write(folder.join("blobs/abc"), CONFIG).unwrap();
    symlink("../../blobs/abc", snapshot.join("config.yaml")).unwrap();
    symlink(
        format!("../../../blobs/{name}"),
        snapshot.join("segmentation/pytorch_model.bin"),
    )
    .unwrap();
    folder
}

#[cfg(unix)]
#[test]
fn a_model_in_the_hubs_cache_is_found_and_verified() {
    let home = Home::new(&["https://mirror.invalid".into()]);
    let catalogue = home.catalogue();
    for name in ["small", "me/small"] {
        let error = catalogue.locate(Path::new(name)).unwrap_err().to_string();
        assert!(error.contains("`soundalike models get small`"), "{error}");
    }
    let folder = cache(&home, "c1");
    let snapshot = folder.join("snapshots/c1");
    // Files of no use, and of no contents: a link to nothing, and one to a file without an end.
    let [missing, endless] = ["e", "f"].map(|digit| digit.repeat(64));
    std::os::unix::fs::symlink("/dev/zero", folder.join("blobs").join(&endless)).unwrap();
    for blob in [missing, endless] {
        std::os::unix::fs::symlink(format!("../../blobs/{blob}"), snapshot.join(&blob)).unwrap();
    }
    for (name, origin) in [
        ("small", Origin::VerifiedCache),
        ("me/small", Origin::VerifiedCache),
        ("me/small@c1", Origin::Cache),
        ("me/small@main", Origin::Cache),
        (folder.to_str().unwrap(), Origin::Cache),
        (snapshot.to_str().unwrap(), Origin::Path),
    ] {
        let found = catalogue.locate(Path::new(name)).unwrap();
        assert_eq!(
            (found.path, found.origin),
            (snapshot.clone(), origin),
            "{name}"
        );
    }
    let error = catalogue
        .locate(Path::new("me/small@c2"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("has no revision `c2`; it has c1"), "{error}");
    let error = catalogue
        .locate(Path::new("me/other"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(
            "me/other: is not a file, and no model of this name is installed or in the hub's cache"
        ),
        "{error}"
    );

    // It is installed from there, without a request.
    home.ok();
    home.catalogue().store().unwrap().remove("small").unwrap();

    let blob = folder
        .join("blobs")
        .join(sha256([&*Pipeline::new().weights]));
    let mut bytes = fs::read(&blob).unwrap();
    bytes[100] ^= 1;
    fs::write(&blob, bytes).unwrap();
    let small = catalogue.model("small").unwrap();
    assert!(catalogue.find(small).is_none());
    let error = catalogue
        .locate(Path::new("me/small"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("the cache is damaged"), "{error}");

    fs::remove_dir_all(folder.join("snapshots")).unwrap();
    fs::write(folder.join("blobs/def.incomplete"), "x").unwrap();
    let error = catalogue.locate(&folder).unwrap_err().to_string();
    assert!(
        error.contains("def.incomplete is an interrupted download"),
        "{error}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_cannot_be_written_is_told() {
    let server = faulty(vec![]);
    let home = Home::new(&[mirror(&server)]);
    // Nobody, not even root, makes a directory there.
    let settings = Settings {
        models: Some("/proc/self/soundalike".into()),
        ..home.settings()
    };
    let catalogue = Catalogue::open(settings, None).unwrap();
    let error = catalogue
        .get("small", None, &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("cannot be written; set SOUNDALIKE_MODELS"),
        "{error}"
    );
    assert!(server.requests().is_empty());
}

#[test]
fn offline_is_without_a_request() {
    let server = faulty(vec![]);
    let home = Home::new(&[mirror(&server)]);
    let settings = Settings {
        offline: true,
        ..home.settings()
    };
    let catalogue = Catalogue::open(settings, None).unwrap();
    let error = catalogue
        .get("small", None, &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(error.contains("HF_HUB_OFFLINE is set"), "{error}");
    assert!(server.requests().is_empty());
}
