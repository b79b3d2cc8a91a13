//! `plan`: where a volume would go, and why; or why nowhere. Nothing is carried out.

use crate::yaml;
use allocator::{Explanation, Options, Plan, explain, plan_create};
use anyhow::{Context as _, bail};
use checker::Context;
use layout::{Intent, Inventory, Layout, NodeName, VolumeUid};
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;

/// Show where a volume would go and which rule decided each placement, without doing anything.
///
/// Exit code 1 with the reason in words where the intent cannot be met.
#[derive(clap::Args)]
pub struct Args {
    /// What the volume must be, as YAML
    #[arg(long)]
    intent: PathBuf,
    /// The disks there are, as YAML
    #[arg(long)]
    inventory: PathBuf,
    /// The node that uses the volume; by default the node of its first disk
    #[arg(long)]
    host: Option<String>,
    /// The plan and its explanation as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    plan: &'a Plan,
    explanation: &'a Explanation,
}

impl Args {
    /// Plans, has the plan judged, and prints it.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<u8> {
        let intent: Intent = yaml::read(&self.intent, "an intent")?;
        let inventory: Inventory = yaml::read(&self.inventory, "an inventory")?;
        let options = Options {
            host: self.host.clone().map(NodeName),
            ..Options::default()
        };
        // A volume gets its identity when it is made.
        let volume = VolumeUid::default();
        let plan = plan_create(&intent, volume, &inventory, &options)?;
        let layout = plan.steps.iter().rev().find_map(|s| s.layout.as_ref());
        let layout = layout.context("the plan ends without a layout")?;
        judge(layout, &intent, &inventory)?;
        let explanation = explain(layout, &intent, &inventory)?;
        if self.json {
            let (plan, explanation) = (&plan, &explanation);
            serde_json::to_writer_pretty(&mut *out, &Answer { plan, explanation })?;
            writeln!(out)?;
        } else {
            write!(out, "{explanation}")?;
        }
        Ok(0)
    }
}

/// The checker, which shares no code with the allocator, has the last word on every plan.
fn judge(layout: &Layout, intent: &Intent, inventory: &Inventory) -> anyhow::Result<()> {
    let violations = checker::check(layout, intent, &Context::new(inventory));
    if violations.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = violations.iter().map(ToString::to_string).collect();
    bail!(
        "the plan breaks the intent, which is a mistake of the allocator: {}",
        all.join("; ")
    )
}
