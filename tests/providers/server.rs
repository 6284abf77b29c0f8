//! A stand-in for a provider's API: HTTP/1.1 on a port of this machine, one answer a connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With what is after the question mark.
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Status(u16, String),
    /// And a header.
    With(u16, &'static str, String, String),
    /// Nothing for that long.
    Slow(Duration),
    /// The beginning of an answer, and then its end now and then.
    Drip,
    /// The connection ends in the middle.
    Midway,
    Closed,
    /// So many megabytes.
    Large(usize),
}

pub(crate) fn good(body: impl Into<Value>) -> Answer {
    Answer::Status(
        200,
        match body.into() {
            Value::String(text) => text,
            other => other.to_string(),
        },
    )
}

pub(crate) struct Server {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Answers by that until the test ends.
    pub(crate) fn new(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (seen, answer) = (Arc::clone(&asked), Arc::new(answer));
        std::thread::spawn(move || {
            for connection in listener.incoming().filter_map(Result::ok) {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let Some(asked) = read(&connection) else { return };
                    seen.lock().unwrap().push(asked.clone());
                    // A client that has gone is no failure of the test.
                    let _ = write(&connection, answer(&asked));
                    let _ = connection.shutdown(Shutdown::Both);
                });
            }
        });
        Self { url, asked }
    }

    /// What was asked, in turn.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Asked::line).collect()
    }
}

fn read(connection: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(n, _)| n == "content-length").and_then(|(_, v)| v.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { method, path, headers, body: String::from_utf8(body).ok()? })
}

fn write(mut connection: &TcpStream, answer: Answer) -> std::io::Result<()> {
    let head = |status: u16, length: usize| {
        format!(
            "HTTP/1.1 {status} Something\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n"
        )
    };
    match answer {
        Answer::Status(status, body) => connection.write_all((head(status, body.len()) + "\r\n" + &body).as_bytes()),
        Answer::With(status, name, value, body) => {
            connection.write_all(format!("{}{name}: {value}\r\n\r\n{body}", head(status, body.len())).as_bytes())
        }
        Answer::Slow(long) => {
            std::thread::sleep(long);
            Ok(())
        }
        Answer::Drip => {
            connection.write_all((head(200, 1_000_000) + "\r\n").as_bytes())?;
            for _ in 0..300 {
                connection.write_all(b" ")?;
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(())
        }
        Answer::Midway => connection.write_all((head(200, 1000) + "\r\n{\"key\":").as_bytes()),
        Answer::Closed => Ok(()),
        Answer::Large(megabytes) => {
            connection.write_all((head(200, megabytes << 20) + "\r\n").as_bytes())?;
            (0..megabytes).try_for_each(|_| connection.write_all(&vec![b' '; 1 << 20]))
        }
    }
}
