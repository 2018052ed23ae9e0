//! A script of Python at the other end, which tells what happens in lines of JSON.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A script of this directory, by the Python that `setup.sh` has installed. It ends with its handle.
pub(crate) struct Script {
    process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Script {
    /// Starts a script. `why` tells what is to be installed.
    pub(crate) fn start(name: &str, arguments: &[&str], why: &str) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
        let mut process = Command::new(here.join(".venv/bin/python"))
            .arg(here.join(name))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect(why);
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// Returns its next line.
    pub(crate) fn line(&mut self) -> String {
        let line = self.lines.next();
        line.expect("the script told nothing more").unwrap()
    }

    /// Returns its next event, which must have this name.
    pub(crate) fn told(&mut self, event: &str) -> Value {
        let object: Value = serde_json::from_str(&self.line()).unwrap();
        assert_eq!(object["event"], event, "{object}");
        object
    }

    /// Writes a line of JSON to it, and returns its answer.
    pub(crate) fn answer(&mut self, object: &Value) -> Value {
        self.tell(&object.to_string());
        serde_json::from_str(&self.line()).unwrap()
    }

    /// Writes a line to it.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{line}").unwrap();
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
