//! The command line, made from the table of settings.

use clap::{Arg, ArgAction, ArgMatches, Command as Clap};

use super::settings::{CONFIG, SETTINGS, Setting};
use super::sources::Given;

/// What the agent is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Observe until a signal comes.
    Run,
    /// Say what is wrong with the configuration.
    CheckConfig,
    /// Say what works on this machine.
    Doctor {
        /// As JSON instead of a table.
        json: bool,
    },
}

/// The definition for clap.
pub fn clap() -> Clap {
    let arguments = std::iter::once(&CONFIG).chain(&SETTINGS).map(argument);
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON instead of a table");
    Clap::new("sonde-agent")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Observes all containers and processes of this machine and shows them to Prometheus")
        .after_help(
            "Every flag is also an environment variable and a key of the file: --data-dir, SONDE_DATA_DIR, data_dir.\n\
             A flag wins over the environment, the environment over the file. In a variable, several values are\n\
             separated by spaces.",
        )
        .term_width(100)
        .args(arguments)
        .subcommand(Clap::new("run").about("Observe until a signal comes (the default)"))
        .subcommand(Clap::new("check-config").about("Say what is wrong with the configuration"))
        .subcommand(Clap::new("doctor").about("Say what works on this machine, and why not").arg(json))
}

fn argument(setting: &'static Setting) -> Arg {
    let action = if setting.repeatable { ArgAction::Append } else { ArgAction::Set };
    let argument = Arg::new(setting.name)
        .long(setting.name)
        .value_name(setting.value)
        .help(help_of(setting))
        .action(action)
        .global(true)
        .allow_hyphen_values(true);
    match setting.coroot {
        Some(alias) if alias != setting.name => argument.alias(alias),
        _ => argument,
    }
}

fn help_of(setting: &Setting) -> String {
    match (setting.default, setting.repeatable) {
        ("", false) => setting.help.to_owned(),
        ("", true) => format!("{} [repeatable]", setting.help),
        (default, _) => format!("{} [default: {default}]", setting.help),
    }
}

/// What the command line asks for.
pub(super) fn command(matches: &ArgMatches) -> Command {
    match matches.subcommand() {
        Some(("check-config", _)) => Command::CheckConfig,
        Some(("doctor", doctor)) => Command::Doctor { json: doctor.get_flag("json") },
        _ => Command::Run,
    }
}

/// The values of a setting on the command line.
pub(super) fn given(matches: &ArgMatches, setting: &'static Setting) -> Vec<Given> {
    let innermost = matches.subcommand().map_or(matches, |(_, inner)| inner);
    let values = innermost.get_many::<String>(setting.name).into_iter().flatten();
    values.map(|text| Given::new(setting, format!("--{}", setting.name), text)).collect()
}
