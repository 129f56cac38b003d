//! Every event and span, written as one text each.

use std::{
    fmt::{self, Write as _},
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context};

/// Writes what it sees to a file.
#[derive(Clone, Debug)]
pub(super) struct Capture {
    file: Arc<Mutex<BufWriter<File>>>,
    pub(super) lines: Arc<AtomicU64>,
}

impl Capture {
    pub(super) fn to(path: &Path) -> io::Result<Self> {
        let file = BufWriter::new(File::create_new(path)?);
        Ok(Self {
            file: Arc::new(Mutex::new(file)),
            lines: Arc::default(),
        })
    }

    pub(super) fn flush(&self) -> io::Result<()> {
        self.file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .flush()
    }

    fn write(&self, line: &Line) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // What can not be written is missing in the count.
        if file.write_all(line.0.as_bytes()).is_ok() && file.write_all(b"\n").is_ok() {
            self.lines.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl<S: Subscriber> Layer<S> for Capture {
    fn on_new_span(&self, span: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut line = Line::about(span.metadata());
        span.record(&mut line);
        self.write(&line);
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut line = Line(String::from("recorded"));
        values.record(&mut line);
        self.write(&line);
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::about(event.metadata());
        event.record(&mut line);
        self.write(&line);
    }
}

struct Line(String);

impl Line {
    fn about(metadata: &Metadata<'_>) -> Self {
        Self(format!("{} {}", metadata.level(), metadata.target()))
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        // Writing to a string does not fail.
        let _ = write!(self.0, " {}={value}", field.name());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}
