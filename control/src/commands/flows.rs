//! `ravelin flows`: which flows are live, what allows each, and an end to those that should not be.

mod count;
mod filter;
mod row;

use std::io::{self, Write};

use classifier::handover::flows::{Conversation, ListedFlow};
use classifier::image::{Image, View};
use serde_json::json;

use self::count::Count;
use self::filter::{Filter, FilterArguments};
use self::row::{Row, human};
use super::{DONE, Output, SettingsArgument, WRONG};
use crate::cli::say;
use crate::publish::{Dataplane, HandoverError};
use crate::settings::Settings;

/// Arguments of `ravelin flows`.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    #[command(flatten)]
    settings: SettingsArgument,
    #[command(flatten)]
    filter: FilterArguments,
    /// Show at most so many; 0 shows all
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// Count the flows instead: by state, and those of the busiest addresses
    #[arg(long, conflicts_with = "kill")]
    count: bool,
    /// End the flows: nothing asks again, each leaves a record, and what comes of it later belongs to no known flow
    #[arg(long)]
    kill: bool,
    /// How to answer
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

/// Asks the data plane for its flows and writes those that match to `out`, or ends them. Returns the exit status.
///
/// # Errors
/// When `out` does not take what is written.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> io::Result<u8> {
    let filter = match arguments.filter.read() {
        Ok(filter) => filter,
        Err(error) => return Ok(refuse(&error)),
    };
    if arguments.kill && filter.is_empty() {
        return Ok(refuse(
            "`--kill` without a filter would end everything: say which, with `-l`, `--src`, `--dst`, `--port` or `--proto`",
        ));
    }
    let Some(settings) = arguments.settings.load() else { return Ok(WRONG) };
    let dataplane = Dataplane::at(&settings.dataplane.socket);
    let image = match image(&dataplane) {
        Ok(image) => image,
        Err(error) => return Ok(refuse(&error.to_string())),
    };
    let asked = Asked { dataplane, filter, view: image.as_ref().map(Image::view), settings };
    let answered = if arguments.kill {
        asked.kill(arguments.output, out)
    } else if arguments.count {
        asked.count(arguments.output, out)
    } else {
        asked.list(arguments.limit, arguments.output, out)
    };
    match answered {
        Ok(written) => written.map(|()| DONE),
        Err(error) => Ok(refuse(&error.to_string())),
    }
}

fn refuse(error: &str) -> u8 {
    say(error);
    WRONG
}

/// The image in force; `None` where there is none, and so no names.
fn image(dataplane: &Dataplane) -> Result<Option<Image>, HandoverError> {
    let status = dataplane.status()?;
    status.generation().map(|_| dataplane.image()).transpose()
}

/// Which flows of which data plane.
struct Asked<'a> {
    dataplane: Dataplane,
    filter: Filter,
    view: Option<View<'a>>,
    settings: Settings,
}

impl Asked<'_> {
    /// Hands every flow that matches to `take`, page by page.
    fn each(&self, mut take: impl FnMut(ListedFlow)) -> Result<(), HandoverError> {
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            let (next, flows) = self.dataplane.flows(at)?;
            flows
                .into_iter()
                .filter(|flow| self.filter.takes(&flow.conversation, self.view.as_ref()))
                .for_each(&mut take);
            // Whatever it answers, this comes to an end.
            cursor = next.filter(|next| *next > at);
        }
        Ok(())
    }

    fn list(
        &self,
        limit: usize,
        output: Output,
        out: &mut dyn Write,
    ) -> Result<io::Result<()>, HandoverError> {
        let limit = if limit == 0 { usize::MAX } else { limit };
        let (mut flows, mut matching) = (Vec::new(), 0_u64);
        self.each(|flow| {
            matching += 1;
            if flows.len() < limit {
                flows.push(flow);
            }
        })?;
        // What spoke last is what one looks for.
        flows.sort_by_key(|flow| flow.idle_ms);
        let row = |flow| Row::of(flow, self.view.as_ref(), &self.settings);
        let rows: Vec<Row<'_>> = flows.iter().map(row).collect();
        Ok(match output {
            Output::Human => out.write_all(human(&rows, matching).as_bytes()),
            Output::Json => writeln!(out, "{:#}", json!({ "matching": matching, "flows": rows })),
        })
    }

    fn count(&self, output: Output, out: &mut dyn Write) -> Result<io::Result<()>, HandoverError> {
        let mut count = Count::default();
        self.each(|flow| count.take(&flow))?;
        Ok(match output {
            Output::Human => out.write_all(count.human(self.view.as_ref()).as_bytes()),
            Output::Json => writeln!(out, "{:#}", count.json(self.view.as_ref())),
        })
    }

    fn kill(&self, output: Output, out: &mut dyn Write) -> Result<io::Result<()>, HandoverError> {
        let mut found: Vec<Conversation> = Vec::new();
        self.each(|flow| found.push(flow.conversation))?;
        let killed = self.dataplane.kill(&found)?;
        let matching = found.len();
        Ok(match output {
            Output::Human => writeln!(out, "{killed} of {matching} flows killed"),
            Output::Json => writeln!(out, "{}", json!({ "matching": matching, "killed": killed })),
        })
    }
}
