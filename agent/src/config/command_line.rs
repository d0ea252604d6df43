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
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON instead of a table");
    Clap::new("sonde-agent")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Observes all containers and processes of this machine and shows them to Prometheus")
        .after_help(
            "Every flag is also an environment variable and a key of the file: --data-dir, SONDE_DATA_DIR, data_dir.\n\
             A flag wins over the environment, the environment over the file; of a flag given twice the last one counts,\n\
             unless it is repeatable. In a variable, several values are separated by spaces.",
        )
        .term_width(100)
        .args_override_self(true)
        .args(arguments())
        .subcommand(subcommand("run", "Observe until a signal comes (the default)"))
        .subcommand(subcommand("check-config", "Say what is wrong with the configuration"))
        .subcommand(subcommand("doctor", "Say what works on this machine, and why not").arg(json))
}

/// Takes the same flags as the command itself: clap's global arguments would forget the values before the
/// subcommand of a flag that is given behind it too.
fn subcommand(name: &'static str, about: &'static str) -> Clap {
    Clap::new(name).about(about).term_width(100).args_override_self(true).args(arguments())
}

fn arguments() -> impl Iterator<Item = Arg> {
    std::iter::once(&CONFIG).chain(SETTINGS).map(argument)
}

fn argument(setting: &'static Setting) -> Arg {
    let action = if setting.repeatable { ArgAction::Append } else { ArgAction::Set };
    let argument = Arg::new(setting.name)
        .long(setting.name)
        .value_name(setting.value)
        .help(help_of(setting))
        .action(action)
        .allow_hyphen_values(true);
    let argument = match setting.is_switch() {
        true => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
        false => argument,
    };
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

/// The values of a setting on the command line, before and behind the subcommand.
pub(super) fn given(matches: &ArgMatches, setting: &'static Setting) -> Vec<Given> {
    let behind = matches.subcommand().map(|(_, behind)| behind);
    let values =
        std::iter::once(matches).chain(behind).filter_map(|level| level.get_many::<String>(setting.name));
    values.flatten().map(|text| Given::new(setting, format!("--{}", setting.name), text)).collect()
}
