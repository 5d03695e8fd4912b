//! One file, downloaded and verified, from the first of its addresses that has it.

use std::{
    fmt,
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{
    address::Address,
    client::{Client, Problem, Refusal},
    error::Error,
    file_hash::size_and_sha256,
    registry::ModelFile,
};

/// Most requests in a row that bring no new byte, and most in all, for one address.
const MAX_FRUITLESS: u32 = 4;
const MAX_REQUESTS: u32 = 100;
/// Wait before the second request; each further wait is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest wait that a busy server gets, and the number of times it may ask for one.
const MAX_WAIT: Duration = Duration::from_secs(120);
const MAX_WAITS: u32 = 3;
/// Least bytes within the stall timeout.
const MIN_BYTES: u64 = 16 * 1024;
/// Bytes read at a time.
const CHUNK: usize = 1 << 16;

/// What happens while a model is downloaded.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Another process installs this model; this one waits.
    Locked,
    /// A file is taken from here: an address or a path.
    Source {
        /// Its path in the model.
        file: &'a str,
        /// Where it comes from.
        from: &'a str,
    },
    /// Bytes of the model that are here.
    Progress {
        /// Its path in the model.
        file: &'a str,
        /// Bytes of all files so far.
        done: u64,
        /// Bytes of all files.
        total: u64,
    },
    /// The server is busy and asks to wait.
    Wait {
        /// For this time, in seconds.
        seconds: u64,
    },
    /// An address failed; the next one, if any, is tried.
    Failed(&'a Failure),
    /// The files are complete and are converted to bundles.
    Converting,
}

/// An address that failed.
#[derive(Debug)]
pub struct Failure {
    /// The address.
    pub address: Address,
    /// What is wrong with it.
    pub problem: Problem,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.address, self.problem)
    }
}

/// Why an address did not work, or nothing will.
enum Trouble {
    /// This address: try the next one.
    Address(Problem),
    /// This machine.
    Local(Error),
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        Self::Address(problem)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Local(error)
    }
}

/// A download of one file.
pub(crate) struct Transfer<'a> {
    pub(crate) client: &'a Client,
    pub(crate) file: &'a ModelFile,
    /// Where the file grows. What is there already is kept and continued.
    pub(crate) part: &'a Path,
    /// Longest time in which next to nothing arrives.
    pub(crate) stall: Duration,
    /// Bytes of the model's files before this one, and of all.
    pub(crate) before: u64,
    pub(crate) total: u64,
}

impl Transfer<'_> {
    /// Downloads from the first address that has the file. Returns all failures if none has.
    pub(crate) fn run(
        &self,
        addresses: Vec<Address>,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<Result<(), Vec<Failure>>, Error> {
        let mut failures = Vec::new();
        for address in addresses {
            report(Event::Source {
                file: &self.file.path,
                from: &address.to_string(),
            });
            match self.from(&address, report) {
                Ok(()) => return Ok(Ok(())),
                Err(Trouble::Local(error)) => return Err(error),
                Err(Trouble::Address(problem)) => {
                    let failure = Failure { address, problem };
                    report(Event::Failed(&failure));
                    failures.push(failure);
                }
            }
        }
        Ok(Err(failures))
    }

    /// Downloads from one address, with as many requests as it takes.
    fn from(&self, address: &Address, report: &mut dyn FnMut(Event<'_>)) -> Result<(), Trouble> {
        let mut fruitless = 0;
        let mut waits = 0;
        // A file that was begun elsewhere may be another one.
        let mut begun_here = self.len()? == 0;
        for _ in 0..MAX_REQUESTS {
            let before = self.len()?;
            if before == self.file.size {
                match self.verify()? {
                    None => return Ok(()),
                    Some(problem) if begun_here => return Err(problem.into()),
                    Some(_) => begun_here = true,
                }
                continue;
            }
            if fruitless > 0 {
                thread::sleep(FIRST_PAUSE * 2_u32.pow(fruitless - 1));
            }
            let end = self.request(address, before, report)?;
            match end {
                End::Complete => {}
                End::Cut => {
                    let now = self.len()?;
                    fruitless = if now > before { 0 } else { fruitless + 1 };
                    if fruitless == MAX_FRUITLESS {
                        return Err(Problem::Cut(now).into());
                    }
                }
                End::Broken(error) => {
                    fruitless += 1;
                    if fruitless == MAX_FRUITLESS {
                        return Err(Problem::Connection {
                            error: Box::new(error),
                        }
                        .into());
                    }
                }
                End::OtherPart if !begun_here || before > 0 => {
                    self.restart()?;
                    begun_here = true;
                    fruitless += 1;
                    if fruitless == MAX_FRUITLESS {
                        return Err(Problem::Range.into());
                    }
                }
                End::OtherPart => return Err(Problem::Range.into()),
                End::Later { status, wait } => {
                    let seconds = wait.as_secs();
                    waits += 1;
                    if wait > MAX_WAIT || waits > MAX_WAITS {
                        return Err(Problem::Busy { status, seconds }.into());
                    }
                    report(Event::Wait { seconds });
                    thread::sleep(wait);
                }
            }
        }
        Err(Problem::Cut(self.len()?).into())
    }

    /// Makes one request for what is missing, and appends what comes.
    fn request(
        &self,
        address: &Address,
        offset: u64,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<End, Trouble> {
        let mut reply = match self.client.get(address, offset) {
            Ok(reply) => reply,
            Err(Refusal::Problem(Problem::Range)) => return Ok(End::OtherPart),
            Err(Refusal::Problem(problem)) => return Err(problem.into()),
            Err(Refusal::Broken(error)) if is_temporary(&error) => return Ok(End::Broken(error)),
            Err(Refusal::Broken(error)) => {
                return Err(Problem::Connection {
                    error: Box::new(error),
                }
                .into());
            }
            Err(Refusal::Later { status, wait }) => return Ok(End::Later { status, wait }),
        };
        let expected = self.file.size;
        if let Some(length) = reply.length {
            let found = reply.start.saturating_add(length);
            // A part may be shorter than what was asked for. What is here is kept: this server may be the wrong one.
            if found > expected || reply.start == 0 && found < expected {
                return Err(Problem::Size {
                    found,
                    more: false,
                    expected,
                }
                .into());
            }
        }
        let mut part = self.open(reply.start > 0)?;
        let mut done = reply.start;
        let mut buffer = vec![0; CHUNK];
        let mut pace = Pace::new(self.stall);
        loop {
            let read = match reply.body.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read as u64,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Ok(End::Cut),
            };
            done += read;
            if done > expected {
                self.restart()?;
                return Err(Problem::Size {
                    found: done,
                    more: true,
                    expected,
                }
                .into());
            }
            let written = part.write_all(&buffer[..read as usize]);
            written.map_err(Error::io("writing", self.part))?;
            report(Event::Progress {
                file: &self.file.path,
                done: self.before + done,
                total: self.total,
            });
            pace.count(read)?;
        }
        if done < expected {
            // Without a length, the end of a file and of a connection look alike.
            return Ok(End::Cut);
        }
        part.sync_all().map_err(Error::io("writing", self.part))?;
        Ok(End::Complete)
    }

    /// Compares the file with the registry, and removes it if it is another one.
    fn verify(&self) -> Result<Option<Problem>, Error> {
        let found = size_and_sha256(self.part);
        let (_, found) = found.map_err(Error::io("reading", self.part))?;
        if found == self.file.sha256 {
            return Ok(None);
        }
        self.restart()?;
        let expected = self.file.sha256.clone();
        Ok(Some(Problem::Hash { found, expected }))
    }

    /// Bytes that are here. A file that is too large is removed.
    fn len(&self) -> Result<u64, Error> {
        let len = match self.part.metadata() {
            Ok(found) => found.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            Err(error) => return Err(Error::io("reading", self.part)(error)),
        };
        if len <= self.file.size {
            return Ok(len);
        }
        self.restart()?;
        Ok(0)
    }

    fn restart(&self) -> Result<(), Error> {
        match fs::remove_file(self.part) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io("removing", self.part)(error))
            }
            _ => Ok(()),
        }
    }

    fn open(&self, append: bool) -> Result<File, Error> {
        let mut options = File::options();
        options
            .create(true)
            .write(true)
            .append(append)
            .truncate(!append);
        options
            .open(self.part)
            .map_err(Error::io("writing", self.part))
    }
}

/// How a request ended.
enum End {
    Complete,
    /// The connection ended before the file did.
    Cut,
    /// There was no connection, or no answer.
    Broken(ureq::Error),
    /// The server has no such part of the file.
    OtherPart,
    Later {
        status: u16,
        wait: Duration,
    },
}

/// Whether the same request may work a moment later.
fn is_temporary(error: &ureq::Error) -> bool {
    match error {
        // A certificate that is not trusted is invalid data.
        ureq::Error::Io(error) => !matches!(
            error.kind(),
            ErrorKind::ConnectionRefused | ErrorKind::InvalidData
        ),
        ureq::Error::Timeout(_) | ureq::Error::Protocol(_) => true,
        _ => false,
    }
}

/// Refuses a body that comes too slowly to ever end.
struct Pace {
    limit: Duration,
    since: Instant,
    bytes: u64,
}

impl Pace {
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            since: Instant::now(),
            bytes: 0,
        }
    }

    /// Adds bytes that arrived.
    fn count(&mut self, bytes: u64) -> Result<(), Problem> {
        self.bytes += bytes;
        let elapsed = self.since.elapsed();
        if elapsed < self.limit {
            return Ok(());
        }
        if self.bytes < MIN_BYTES {
            return Err(Problem::Slow {
                bytes: self.bytes,
                seconds: elapsed.as_secs(),
            });
        }
        *self = Self::new(self.limit);
        Ok(())
    }
}
