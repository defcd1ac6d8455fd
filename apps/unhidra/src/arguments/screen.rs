//! The first screen of help: commands in groups, by who needs them when.

use clap::{Command, CommandFactory as _};

use super::Arguments;

/// Which command stands in which group. A command that is named nowhere stands in the last group.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "Messages",
        &["chat", "send", "read", "listen", "search", "export"],
    ),
    (
        "People and devices",
        &["verify", "contacts", "identity", "devices", "key", "prune"],
    ),
    (
        "Account",
        &["register", "login", "logout", "whoami", "account", "sessions"],
    ),
    (
        "Server",
        &[
            "serve", "demo", "admin", "audit", "backup", "restore", "doctor", "config", "tls", "openapi",
        ],
    ),
    ("More", &[]),
];

/// The program's commands, with help that shows them in groups.
pub(crate) fn command() -> Command {
    let command = Arguments::command();
    let screen = screen(&command);
    command.help_template(screen)
}

fn screen(command: &Command) -> String {
    let mut screen = "{about}\n\n{usage-heading} {usage}\n".to_owned();
    for (index, (title, _)) in GROUPS.iter().enumerate() {
        let shown: Vec<_> = in_order(command, index);
        if shown.is_empty() {
            continue;
        }
        screen.push_str(&format!("\n{title}:\n"));
        for found in shown {
            let about = found.get_about().map(ToString::to_string).unwrap_or_default();
            screen.push_str(&format!("  {:<12} {about}\n", found.get_name()));
        }
    }
    screen.push_str("\nOptions:\n{options}{after-help}");
    screen
}

/// The commands of a group, in the order of its list.
fn in_order(command: &Command, group: usize) -> Vec<&Command> {
    let visible = command.get_subcommands().filter(|found| !found.is_hide_set());
    let mut found: Vec<(usize, &Command)> = visible
        .filter_map(|found| {
            let (of, place) = place(found.get_name());
            (of == group).then_some((place, found))
        })
        .collect();
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, found)| found).collect()
}

fn place(name: &str) -> (usize, usize) {
    for (group, (_, names)) in GROUPS.iter().enumerate() {
        if let Some(place) = names.iter().position(|known| *known == name) {
            return (group, place);
        }
    }
    (GROUPS.len() - 1, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_stands_on_the_first_screen_once_and_it_fits_a_terminal() {
        let mut command = command();
        let names: Vec<String> = command
            .get_subcommands()
            .filter(|found| !found.is_hide_set())
            .map(|found| found.get_name().to_owned())
            .collect();
        let shown = command.render_help().to_string();
        for name in names {
            let lines = shown.lines().filter(|line| {
                line.strip_prefix("  ")
                    .and_then(|line| line.split_whitespace().next())
                    == Some(&name)
            });
            assert_eq!(lines.count(), 1, "{name} in\n{shown}");
        }
        assert!(shown.lines().count() <= 66, "{shown}");
    }

    #[test]
    fn every_command_has_an_about_and_the_definitions_hold() {
        let command = command();
        for found in command.get_subcommands() {
            assert!(found.get_about().is_some(), "{}", found.get_name());
        }
        command.debug_assert();
    }
}
