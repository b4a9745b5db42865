"""The command line: where settings come from, and what a person sees when something is wrong."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import psycopg
import pytest
from click.testing import CliRunner, Result

from pgbourse import __version__
from pgbourse.cli import cli, main
from pgbourse.database.looking import looking
from pgbourse.settings import ServeSettings

ROOT = Path(__file__).parents[2]


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli, arguments, env=env, standalone_mode=False)


@pytest.mark.parametrize("command", ["serve", "migrate", "check", "top"])
@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_database_url_starts_no_database_of_our_own(command: str, value: str) -> None:
    meant = "pgbourse runs a PostgreSQL of its own"
    if command != "serve":
        meant = "the exchange in the data folder is meant"
    told = f"PGBOURSE_DATABASE_URL (or --database-url) is empty: leave it out, and {meant}"
    for result in (run(command, env={"PGBOURSE_DATABASE_URL": value}), run(command, "--database-url", value)):
        assert isinstance(result.exception, click.UsageError)
        assert result.exception.message == told


@pytest.mark.parametrize("name", ["TLS_CERT", "TLS_CLIENT_CA", "DATABASE_PASSWORD_FILE"])
def test_what_protects_is_not_left_out_by_an_empty_value(name: str, served: list[ServeSettings]) -> None:
    result = run("serve", env={f"PGBOURSE_{name}": ""})
    assert isinstance(result.exception, click.UsageError)
    assert result.exception.message.startswith(f"PGBOURSE_{name} ")
    assert served == []


def test_every_setting_is_an_option_with_its_variable_and_default() -> None:
    text = " ".join(run("serve", "--help").output.split())
    for field in dataclasses.fields(ServeSettings):
        assert re.search(rf"--{field.name.replace('_', '-')}[ ,]", text)
        assert f"PGBOURSE_{field.name.upper()}" in text
    without = [field.name for field in dataclasses.fields(ServeSettings) if field.default is None]
    assert without == [
        "database_url",
        "database_password_file",
        "tls_cert",
        "tls_key",
        "tls_client_ca",
        "http_port",
    ]
    assert text.count("default:") == len(dataclasses.fields(ServeSettings)) - len(without)
    assert "--no-migrate" in text


def test_defaults_are_those_of_the_settings(served: list[ServeSettings]) -> None:
    run("serve")
    assert served == [ServeSettings()]


@pytest.mark.parametrize("home", [None, "/", "/nonexistent"])
def test_a_user_without_a_home_gets_a_folder_of_the_system(home: str | None) -> None:
    # Like systemd's DynamicUser, of whom the user database may know nothing.
    program = """if True:
        import os, pwd

        def getpwuid(uid):
            raise KeyError(uid)

        pwd.getpwuid = getpwuid
        os.geteuid = lambda: 61184
        from pgbourse.cli import main
        main(["serve", "--help"])
    """
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_DATA_HOME")}
    if home is not None:
        environment["HOME"] = home
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "default: /var/lib/pgbourse" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("option", "name", "value"),
    [
        (["--port", "5000"], "port", 5000),
        (["--no-migrate"], "migrate", False),
        (["--close-after-reply"], "close_after_reply", True),
        (["--reply-framing", "mirror"], "reply_framing", "mirror"),
        (["--drain-timeout", "0.5"], "drain_timeout", 0.5),
        (["--data-dir", "/some/where"], "data_dir", Path("/some/where")),
        (["--database-url", "host=x"], "database_url", "host=x"),
        (["--database-password-file", "/run/x"], "database_password_file", Path("/run/x")),
        (["--tls-client-ca", "/run/ca.pem"], "tls_client_ca", Path("/run/ca.pem")),
        (["--http-port", "9000"], "http_port", 9000),
        (["--metrics-port", "9000"], "http_port", 9000),
        (["--metrics-host", "::1"], "http_host", "::1"),
        (["--log-format", "json"], "log_format", "json"),
    ],
)
def test_an_option_sets_its_setting(
    served: list[ServeSettings], option: list[str], name: str, value: Any
) -> None:
    run("serve", *option)
    assert served == [dataclasses.replace(ServeSettings(), **{name: value})]


def test_the_environment_sets_what_options_leave(served: list[ServeSettings]) -> None:
    run(
        "serve",
        "--port",
        "1",
        env={"PGBOURSE_PORT": "2", "PGBOURSE_MIGRATE": "0", "PGBOURSE_RESERVE_WORKERS": "7"},
    )
    assert served == [dataclasses.replace(ServeSettings(), port=1, migrate=False, reserve_workers=7)]


def test_the_environment_may_use_the_old_name_of_a_setting(served: list[ServeSettings]) -> None:
    run("serve", env={"PGBOURSE_METRICS_PORT": "7", "PGBOURSE_METRICS_HOST": "::1"})
    both = {"PGBOURSE_METRICS_PORT": "7", "PGBOURSE_HTTP_PORT": "8"}
    run("serve", env=both)
    run("serve", "--metrics-port", "9", env=both)
    # A service called pgbourse-http doesn't hide what is set under the old name.
    run("serve", env={**both, "PGBOURSE_HTTP_PORT": "tcp://10.1.2.3:12346"})
    assert [settings.http_port for settings in served] == [7, 8, 9, 7]
    assert [settings.http_host for settings in served] == ["::1", *["127.0.0.1"] * 3]


@pytest.mark.parametrize(
    "link", ["tcp://10.1.2.3:12345", "udp://10.1.2.3:12345", "sctp://10.1.2.3:9", "tcp://[fd00::1]:12345"]
)
def test_what_kubernetes_sets_for_a_service_is_no_setting(served: list[ServeSettings], link: str) -> None:
    environment = {"PGBOURSE_PORT": link, "PGBOURSE_HTTP_PORT": link, "PGBOURSE_METRICS_PORT": link}
    run("serve", env=environment)
    assert served == [ServeSettings()]
    # Whatever has a port: the error is about the server that is not there, and not about the value.
    for arguments in (["ping"], ["send", "-"], ["load", "--seconds", "1"]):
        result = run(*arguments, env=environment)
        assert not isinstance(result.exception, click.UsageError), arguments


def test_no_setting_has_a_name_that_kubernetes_gives() -> None:
    names = {f"PGBOURSE_{field.name.upper()}" for field in dataclasses.fields(ServeSettings)}
    given = re.compile(r"PGBOURSE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_\w+)")
    assert not [name for name in names if given.fullmatch(name)]


def test_a_wrong_port_in_the_environment_is_still_told(capsys: pytest.CaptureFixture[str]) -> None:
    result = run("serve", env={"PGBOURSE_PORT": "http://10.1.2.3"})
    assert isinstance(result.exception, click.BadParameter)


@pytest.mark.parametrize("command", ["serve", "migrate", "check", "top"])
def test_what_is_empty_and_means_something_is_refused(served: list[ServeSettings], command: str) -> None:
    for arguments, environment in (
        ([], {"PGBOURSE_DATABASE_URL": ""}),
        ([], {"PGBOURSE_DATABASE_PASSWORD_FILE": ""}),
        (["--database-url", ""], {}),
    ):
        result = run(command, *arguments, env=environment)
        assert isinstance(result.exception, click.UsageError)
        assert "is empty" in str(result.exception)
    assert served == []


# A password is taken for something else here, each time at another place.
BROKEN_URLS = [
    "postgresql://u:QX%XQ@h/d",
    "postgresql://u:QX@XQ@h/d",
    "postgresql://u:QX/XQ@h/d",
    "postgresql://u:QX XQ@h/d",
    "postgresql://u:QX",
    "mysql+psycopg2://u:QX@h/d",
    "host=h password=QX XQ",
    "host=h password=QX XQ=1",
]


@pytest.mark.parametrize("url", BROKEN_URLS)
@pytest.mark.parametrize("command", ["serve", "migrate", "check", "top"])
def test_no_message_holds_a_part_of_a_password(command: str, url: str) -> None:
    options = [] if command == "top" else ["--log-level", "debug"]
    result = subprocess.run(
        [sys.executable, "-m", "pgbourse.cli", command, *options],
        env={**os.environ, "PGBOURSE_DATABASE_URL": url, "PGBOURSE_PORT": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == (2 if command in ("check", "top") else 1)
    assert "the database URL can't be read" in result.stderr
    assert "QX" not in result.stdout + result.stderr
    assert "XQ" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "--port", "65536"], "65536 is not in the range 0<=x<=65535"),
        (["serve", "--reserve-workers", "0"], "0 is not in the range 1<=x<=50"),
        (["serve", "--reply-framing", "json"], "'json' is not one of 'plain', 'length', 'mirror'"),
        (["serve", "--drain-timeout", "-1"], "-1.0 is not in the range x>=0"),
        (["sevre"], "No such command 'sevre'"),
    ],
)
def test_a_wrong_option_says_what_is_allowed(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_an_error_is_one_line_and_status_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["migrate", "--database-url", f"host={tmp_path} dbname=x"])
    assert exit_.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("pgbourse: can't reach the database: ")
    assert str(tmp_path) in lines[0]


def test_debug_adds_the_traceback(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["migrate", "--log-level", "debug", "--database-url", f"host={tmp_path}"])
    lines = capsys.readouterr().err.splitlines()
    assert "Traceback (most recent call last):" in lines
    assert lines[-1].startswith("pgbourse: can't reach the database: ")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code in (0, None)
    assert capsys.readouterr().out == f"pgbourse {__version__}\n"


def test_migrate_applies_lists_and_checks(empty_database: str) -> None:
    def migrate(*options: str) -> Result:
        return run("migrate", "--database-url", empty_database, *options)

    listed = migrate("--status").stdout.splitlines()
    assert listed[0].split() == ["pending", "migration", "0001_roles_and_schema"]
    assert migrate("--check").return_value == 1
    applied = migrate().output.splitlines()
    assert applied[0] == "applied migration 0001_roles_and_schema"
    assert len(applied) == len(listed)
    assert migrate().output == "nothing to apply\n"
    clean = migrate("--check")
    assert (clean.stdout, clean.return_value) == ("", 0)
    assert {line.split()[0] for line in migrate("--status").stdout.splitlines()} == {"applied"}
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("drop function exchange.list_applied_files()")
    drifted = migrate("--check")
    assert drifted.return_value == 1
    assert len(drifted.stdout.splitlines()) == 1
    assert "exchange.list_applied_files() is missing" in drifted.stdout


def shell(command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command line in which `pgbourse` is ours."""
    script = f'pgbourse() {{ "{sys.executable}" -m pgbourse.cli "$@"; }}; {command}'
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", ">&- 2>&- <&-"])
def test_closed_standard_streams_are_no_reason_to_fail(closed: str, tmp_path: Path) -> None:
    result = shell(f"pgbourse generate 3 {tmp_path / 'folder'} {closed}")
    assert (result.returncode, result.stderr) == (0, "")
    assert len(list((tmp_path / "folder").rglob("*.xml"))) == 6


def test_what_is_closed_gets_no_file_of_ours() -> None:
    program = (
        "from pgbourse.streams import mend_streams; mend_streams(); print(open('/dev/zero').fileno() > 2)"
    )
    result = shell(f'exec 3>&2; "{sys.executable}" -c "{program}" <&- 2>&-')
    assert result.stdout == "True\n"


FULL = "pgbourse: can't write: No space left on device\n"


@pytest.mark.parametrize("command", ["--help", "generate 3 {}", "migrate --help"])
def test_what_can_not_be_written_is_one_line(command: str, tmp_path: Path) -> None:
    result = shell(f"pgbourse {command.format(tmp_path / 'folder')} >/dev/full")
    assert (result.returncode, result.stderr) == (1, FULL)


def test_what_is_left_to_write_at_the_end_may_fail_as_well() -> None:
    """Commands may leave output in the buffer; the interpreter would tell of it in its own words."""
    program = (
        "import sys, click, pgbourse.cli as cli\n"
        "cli.cli.add_command(click.Command('words', callback=lambda: sys.stdout.write('x') and None))\n"
        "cli.main(['words'])\n"
    )
    command = [sys.executable, "-c", program]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stderr) == (1, FULL)
    # Nobody reads: as with other commands, that is not worth a word.
    reader, writer = os.pipe()
    os.close(reader)
    unread = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (unread.returncode, unread.stderr) == (1, "")


def test_the_list_of_commands_says_each_in_a_whole_sentence() -> None:
    context = click.Context(cli)
    listed = run("--help").output.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == cli.list_commands(context)
    for line in listed:
        assert line.endswith(".")
        assert not line.endswith("...")
    serve = cli.get_command(context, "serve")
    assert serve is not None
    assert (
        serve.get_short_help_str(45) == "Serve the exchange over TCP until SIGTERM or Ctrl-C."
    )  # a manual page


def test_a_config_behind_the_command_is_told_where_it_stands() -> None:
    result = shell("pgbourse serve --config exchange.toml")
    assert result.returncode == 2
    said = "Error: --config stands before the command: pgbourse --config FILE …"
    assert result.stderr.splitlines()[-1] == said


CLIENTS = ["account", "book", "load", "ping", "send"]
LOOKS = ["check", "migrate", "psql", "top"]


def helps() -> dict[str, str]:
    """What each command says of itself, on one line."""
    context = click.Context(cli)
    return {name: " ".join(run(name, "--help").output.split()) for name in cli.list_commands(context)}


def test_a_clients_options_speak_of_where_it_connects_to() -> None:
    texts = helps()
    connecting = {name for name, text in texts.items() if "--host TEXT Address to connect to." in text}
    assert connecting >= set(CLIENTS)
    for name, text in texts.items():
        assert ("Port to connect to." in text) == (name in connecting), name
        assert ("to listen on" in text) == (name == "serve"), name


def test_who_runs_no_postgresql_says_which_exchange_is_meant() -> None:
    texts = helps()
    for name, text in texts.items():
        assert ("Without it pgbourse runs its own." in text) == (name == "serve"), name
    for name in LOOKS:
        assert "Without it, the one in the data folder is meant." in texts[name]


def test_every_variable_is_shown() -> None:
    """Whatever option takes a value from the environment says from which variable."""
    context = click.Context(cli)
    shown = 0
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        text = run(name, "--help").output.replace("\n", " ")
        for option in command.params:
            variables = [option.envvar] if isinstance(option.envvar, str) else option.envvar or []
            for variable in variables:
                shown += 1
                assert variable in text, (name, variable)
    assert shown > 60


def test_example_ports_are_those_of_the_documents() -> None:
    documents = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    for name, text in helps().items():
        for port in re.findall(r"http://127\.0\.0\.1:([0-9]+)", text):
            assert f"127.0.0.1:{port}" in documents, (name, port)
    documents += (ROOT / "README.md").read_text()
    assert set(re.findall(r"http[-_]port[ =]+([0-9]+)", documents)) == {"12346"}  # one everywhere


HEAVY = {"asyncio", "email", "http.client", "matplotlib", "numpy", "psutil", "psycopg", "rich", "ssl"}


@pytest.mark.parametrize(
    ("program", "unused"),
    [
        ("from pgbourse.cli import main; main(['--help'])", {"lxml", "pgbourse.client.client"}),
        (
            "from pgbourse.cli import main; main(['send', '--port', '1', '--timeout', '1', sys.argv[1]])",
            {
                "platformdirs",
                "pgbourse.client.client",
                "pgbourse.client.results",
                "pgbourse.loadtest",
                "pgbourse.bench",
            },
        ),
    ],
)
def test_a_command_imports_what_it_needs(program: str, unused: set[str], tmp_path: Path) -> None:
    """What takes long to import is felt with each document that is sent from a shell."""
    (tmp_path / "document.xml").write_text("<create/>")
    tell = "import sys, atexit; atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)))"
    command = [sys.executable, "-c", f"{tell}; {program}", str(tmp_path / "document.xml")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    modules = set(result.stderr.split())
    assert "pgbourse.cli" in modules
    assert modules & (HEAVY | unused) == set()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("command", ["--help", "--version", "serve --help"])
def test_output_without_room_is_one_line(command: str) -> None:
    result = shell(f"pgbourse {command} > /dev/full")
    assert result.returncode == 1
    assert result.stderr == "pgbourse: can't write: No space left on device\n"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://ann:QX@db.internal:5433/bourse", "database bourse at db.internal:5433"),
        ("postgresql://a.internal,b.internal/bourse", "database bourse at a.internal,b.internal"),
        ("host=/run/postgresql dbname=bourse password=QX", "database bourse on this machine"),
        ("dbname=bourse port=5433", "database bourse on this machine, port 5433"),
        ("hostaddr=10.1.2.3", "the database at 10.1.2.3"),
        ("service=bourse", "the database of service bourse"),
    ],
)
def test_a_database_is_told_by_its_place_and_no_password(url: str, place: str) -> None:
    with looking(url, None, Path("unused")) as looked:
        assert looked.place == place
