"""`ztm proxy ...`: the table of commands; what each does is in `commands`.

They only ask the app's API.

Source: spec apps-network 2.1.
"""

from ztm.apps.command import AppCommands
from ztm.apps.formats import NO_HEADERS, OUTPUT
from ztm.apps.grammar import Command, Option
from ztm.apps.proxy.commands.config import SWITCH, config
from ztm.apps.proxy.commands.looking import authority, exits
from ztm.apps.proxy.commands.rules import rules

NOTES = """A proxy listens for clients on one endpoint and leads them to exits: endpoints that have targets.

Targets and exclusions are names (example.org), patterns (*.example.org, or * for every name),
addresses and networks (10.0.0.0/8). A name is also excluded where it leads to an excluded address.
On another endpoint of yours: ztm ep NAME proxy ..."""

COMMANDS: AppCommands = (
    Command(
        usage="config",
        title="Show the proxy's configuration, or change it",
        run=config,
        options=(
            Option("--set-listen", "[[ip:]port]", "Listen for clients there (default ip 127.0.0.1); without: nowhere"),
            Option("--add-target", "<target ...>", "Be an exit for these"),
            Option("--remove-target", "<target ...>", "No longer be an exit for these"),
            Option("--add-exclusion", "<target ...>", "Never be an exit for these"),
            Option("--remove-exclusion", "<target ...>", "Exclude these no longer"),
            Option("--users", "<username ...>", "Let these use the exit, besides its owner ('*': all; '': none)"),
            Option("--from-users", "<username ...>", "Also use exits of these users ('*': anyone; '': only your own)"),
            Option("--set-auth", "<user>", "Ask clients for this user name and a password, which is read from input"),
            Option("--unset-auth", "", "Ask clients for no password"),
            Option("--gen-cert", "<on|off>", "Open TLS at the exit, with certificates of its own", "", SWITCH),
            Option("--set-origin-ca", "[file]", "Further certificates that origins may be signed by"),
            Option("--set-log", "<where>", "Log requests: splunk, file or off", "", ("splunk", "file", "off")),
            Option("--log-address", "<host:port>", "Splunk's collector; https unless http:// is written"),
            Option("--log-token", "[token]", "Splunk's token; without a value it is read from input"),
            Option("--log-file", "<name>", "File in the app's own directory (default requests.log)"),
            OUTPUT,
        ),
        notes=NOTES,
    ),
    Command(
        usage="rules",
        title="Show the rules of an exit, or change one",
        run=rules,
        options=(
            Option("--index", "<number>", "The rule to replace; the number after the last appends"),
            Option("--insert", "", "Insert before that rule instead"),
            Option("--delete", "", "Delete that rule instead"),
            Option("--users", "<username ...>", "For these users only"),
            Option("--groups", "<group ...>", "For the members of these groups only"),
            Option("--targets", "<target ...>", "For these destinations only"),
            Option("--action", "<allow|deny>", "What is done", "", ("allow", "deny")),
            OUTPUT,
            NO_HEADERS,
        ),
        notes="The first rule that fits decides; without one, whoever may use the exit is let through.",
    ),
    Command(usage="ca", title="Print the certificate of the exit's authority", run=authority),
    Command(
        usage="get exits", title="List the exits known, and how they fare", run=exits, options=(OUTPUT, NO_HEADERS)
    ),
)
