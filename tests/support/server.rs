//! A server of files on 127.0.0.1 that stands for the model hub, with the faults of networks.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// A request that came in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
}

impl Request {
    /// The first byte that is asked for.
    pub(crate) fn offset(&self) -> usize {
        let range = self.headers.get("range");
        let start = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        start.map_or(0, |start| start.parse().unwrap())
    }
}

/// What a request gets in place of its file.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The connection ends after as many bytes of the body.
    Cut(usize),
    /// Another body.
    Body(Vec<u8>),
    /// Another body, whatever part is asked for.
    Whole(Vec<u8>),
    /// As many bytes of the part that is asked for, and a header that says so.
    Piece(usize),
    /// A status with headers and a text.
    Status(u16, Vec<(&'static str, String)>, &'static str),
    /// The file, without its length.
    NoLength,
    /// The whole file, whatever part is asked for.
    NoRange,
    /// A few bytes, then one in this time.
    Slow(usize, Duration),
    /// Bytes without a length and without an end.
    Endless,
    /// As many bytes, then silence, with the connection open.
    Silent(usize),
}

type Faults = Box<dyn FnMut(&Request, usize) -> Option<Fault> + Send>;

/// Wraps a connection: in TLS, or not at all.
type Wrap = Arc<dyn Fn(TcpStream) -> Option<Box<dyn Stream>> + Send + Sync>;

pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

struct State {
    stopped: AtomicBool,
    files: BTreeMap<String, Vec<u8>>,
    requests: Mutex<Vec<Request>>,
    faults: Mutex<Faults>,
}

/// A running server. Its threads end with the test program.
pub(crate) struct Server {
    port: u16,
    state: Arc<State>,
}

impl Server {
    /// Serves files by their paths, which begin with `/`. `faults` gets each request and the number of those before it.
    pub(crate) fn new(
        files: impl IntoIterator<Item = (String, Vec<u8>)>,
        faults: impl FnMut(&Request, usize) -> Option<Fault> + Send + 'static,
    ) -> Self {
        Self::wrapped(files, faults, Arc::new(|stream| Some(Box::new(stream))))
    }

    /// As [`Self::new`], with each connection wrapped.
    pub(crate) fn wrapped(
        files: impl IntoIterator<Item = (String, Vec<u8>)>,
        faults: impl FnMut(&Request, usize) -> Option<Fault> + Send + 'static,
        wrap: Wrap,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            stopped: AtomicBool::new(false),
            files: files.into_iter().collect(),
            requests: Mutex::default(),
            faults: Mutex::new(Box::new(faults)),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (state, wrap) = (Arc::clone(&shared), Arc::clone(&wrap));
                thread::spawn(move || {
                    if let Some(mut stream) = wrap(stream) {
                        // A client that goes away is no failure of the server.
                        let _ = state.answer(&mut *stream);
                    }
                });
            }
        });
        Self { port, state }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Takes no further connection.
    pub(crate) fn stop(&self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for one.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }
}

impl State {
    fn answer(&self, stream: &mut dyn Stream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) => headers.insert(name.to_lowercase(), value.to_owned()),
                None => break,
            };
        }
        let request = Request { path, headers };
        let count = {
            let mut requests = self.requests.lock().unwrap();
            requests.push(request.clone());
            requests.len() - 1
        };
        let fault = (self.faults.lock().unwrap())(&request, count);
        let stream = reader.into_inner();
        let Some(file) = self.files.get(&request.path) else {
            let fault = fault.unwrap_or(Fault::Status(404, vec![], "Entry not found"));
            return send(stream, &request, &[], Some(fault));
        };
        send(stream, &request, file, fault)
    }
}

fn send(
    stream: &mut dyn Stream,
    request: &Request,
    file: &[u8],
    fault: Option<Fault>,
) -> std::io::Result<()> {
    if let Some(Fault::Status(status, headers, text)) = fault {
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let length = text.len();
        return write!(
            stream,
            "HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n{text}"
        );
    }
    let file = match &fault {
        Some(Fault::Body(body) | Fault::Whole(body)) => body,
        _ => file,
    };
    let offset = match fault {
        Some(Fault::NoRange | Fault::Whole(_)) => 0,
        _ => request.offset(),
    };
    if offset > 0 && offset >= file.len() {
        return write!(
            stream,
            "HTTP/1.1 416 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    let body = match &fault {
        Some(Fault::Piece(bytes)) => &file[offset..offset + bytes],
        _ => &file[offset..],
    };
    let mut head = match offset {
        0 => "HTTP/1.1 200 OK\r\n".to_owned(),
        _ => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {offset}-{}/{}\r\n",
            offset + body.len() - 1,
            file.len()
        ),
    };
    if !matches!(fault, Some(Fault::NoLength | Fault::Endless)) {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    write!(stream, "{head}Connection: close\r\n\r\n")?;
    match fault {
        Some(Fault::Cut(bytes)) => stream.write_all(&body[..bytes.min(body.len())])?,
        Some(Fault::Silent(bytes)) => {
            stream.write_all(&body[..bytes.min(body.len())])?;
            stream.flush()?;
            thread::sleep(Duration::from_secs(60));
        }
        Some(Fault::Slow(bytes, pause)) => {
            let (quick, slow) = body.split_at(bytes.min(body.len()));
            stream.write_all(quick)?;
            for byte in slow {
                stream.write_all(&[*byte])?;
                stream.flush()?;
                thread::sleep(pause);
            }
        }
        Some(Fault::Endless) => loop {
            stream.write_all(&[7; 1 << 14])?;
        },
        _ => stream.write_all(body)?,
    }
    stream.flush()
}
