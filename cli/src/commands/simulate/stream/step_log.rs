use std::{
    io::{self, Write},
    rc::Rc,
};

use kinesis_esm_simulator::{Delivery, Step, StepKind};

use super::{failure_file::FailureFile, step_line::StepLine, step_row, tally::Tally};
use crate::{
    args::Format,
    output::{
        json,
        meter::{Meter, Stdout},
        note::{error, warning},
        screen::Screen,
        table::Table,
    },
    run::halt::Halt,
};

/// Sees all steps of a run: writes the failure records, then shows the step, and counts it.
#[derive(Debug)]
pub(super) struct StepLog {
    format: Format,
    failures: Option<FailureFile>,
    halt: Rc<Halt>,
    tally: Tally,
    meter: Meter,
    table: Table<Stdout>,
    has_noted_loss: bool,
    /// Why no more can be shown. The run halts then.
    error: Option<io::Error>,
}

impl StepLog {
    pub(super) fn new(format: Format, failures: Option<FailureFile>, halt: Rc<Halt>) -> Self {
        StepLog {
            format,
            failures,
            halt,
            tally: Tally::default(),
            meter: Meter::new("simulate"),
            table: Table::new(Stdout::new(), Screen::of_stdout(), step_row::COLUMNS, step_row::OUTCOME),
            has_noted_loss: false,
            error: None,
        }
    }

    pub(super) fn add(&mut self, mut step: Step) {
        if let StepKind::Discarded(discarded) = &mut step.kind {
            discarded.delivery = self.deliver(&discarded.delivery, discarded.records.len());
        }
        self.tally.add(&step);
        match &step.kind {
            StepKind::Read(records) => self.meter.add(*records as u64),
            StepKind::Invoked(_) => self.meter.say(self.tally.invocations()),
            _ => {}
        }
        if self.error.is_none()
            && let Err(error) = self.show(&step)
        {
            self.error = Some(error);
            self.halt.ask();
        }
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    /// Delivers a failure record to the real place. The simulator's destination is only a name.
    fn deliver(&mut self, delivery: &Delivery, records: usize) -> Delivery {
        let Some(failures) = &mut self.failures else {
            if !self.has_noted_loss {
                self.has_noted_loss = true;
                warning("discarded records are lost: --failures FILE would have kept them");
            }
            return Delivery::NoDestination;
        };
        let Delivery::Delivered { record, .. } = delivery else { return delivery.clone() };
        match failures.append(record) {
            Ok(()) => delivery.clone(),
            // Rule 26: a mapping goes on, too.
            Err(cause) => {
                let path = failures.path().display();
                error(format_args!("LOST: {records} discarded, and {path} cannot be written: {cause}"));
                Delivery::Failed
            }
        }
    }

    /// Standard output passes each line on as soon as it is complete.
    fn show(&mut self, step: &Step) -> io::Result<()> {
        match self.format {
            Format::Table => {
                let Some(row) = step_row::row(step) else { return Ok(()) };
                self.table.push(row)?;
                self.table.finish()
            }
            Format::Json => {
                let Some(line) = StepLine::of(step) else { return Ok(()) };
                let mut line = json::to_vec(&line)?;
                line.push(b'\n');
                self.table.output().write_all(&line)
            }
        }
    }
}
