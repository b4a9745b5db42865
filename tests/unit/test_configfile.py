"""Settings from a file, and what the shell and `man` are told."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from click_man.core import write_man_pages

from pgbourse.cli import cli
from pgbourse.settings import ServeSettings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "pgbourse.toml"
    path.write_text(
        'data_dir = "/srv/x"\n[serve]\nport = 5000\nhttp-port = 12346\nmigrate = false\n[load]\nclients = 7\n'
    )
    return path


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli, arguments, env=env, standalone_mode=False)


def refused(path: Path, text: str) -> str:
    path.write_text(text)
    error = run("--config", str(path), "serve").exception
    assert isinstance(error, click.UsageError)
    return error.message


def test_a_file_sets_what_options_and_variables_leave(config: Path, served: list[ServeSettings]) -> None:
    run("--config", str(config), "serve", "--port", "6000", env={"PGBOURSE_HTTP_PORT": "9200"})
    run("serve", env={"PGBOURSE_CONFIG": str(config)})
    run("serve")
    both, alone, without = served
    assert (both.port, both.http_port, both.migrate, both.data_dir) == (6000, 9200, False, Path("/srv/x"))
    assert (alone.port, alone.http_port) == (5000, 12346)
    assert (without.port, without.http_port, without.migrate) == (12345, None, True)


def test_an_old_name_of_a_setting_is_one_in_a_file_too(tmp_path: Path, served: list[ServeSettings]) -> None:
    (tmp_path / "c.toml").write_text("[serve]\nmetrics_port = 12346\n")
    run("--config", str(tmp_path / "c.toml"), "serve")
    assert served[0].http_port == 12346


def test_values_are_held_to_what_the_option_allows(tmp_path: Path) -> None:
    assert "70000 is not in the range" in refused(tmp_path / "c.toml", "[serve]\nport = 70000\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[serve]\nprot = 1\n", "serve has no option --prot"),
        ("[server]\nport = 1\n", "there is no command server: there are account, bench,"),
        ("no_such = 1\n", "no command has an option --no-such"),
        ("[serve\n", "is not TOML: Expected ']' at the end of a table declaration (at line 1, column 7)"),
    ],
)
def test_what_is_no_setting_is_refused(tmp_path: Path, text: str, told: str) -> None:
    assert told in refused(tmp_path / "c.toml", text)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    error = run("--config", str(tmp_path / "none.toml"), "serve").exception
    assert isinstance(error, click.UsageError)
    assert error.message.endswith("none.toml: No such file or directory")


def test_a_temporary_exchange_is_gone_at_the_end(served: list[ServeSettings]) -> None:
    run("serve", "--temporary", "--port", "5000")
    assert served[0].port == 5000
    assert not served[0].data_dir.parent.exists()
    assert served[0].data_dir.parent.name.startswith("pgbourse-")


@pytest.mark.parametrize("option", ["--data-dir=/srv/x", "--database-url=postgresql:///x"])
def test_a_temporary_exchange_has_no_other_data(option: str, served: list[ServeSettings]) -> None:
    error = run("serve", "--temporary", option).exception
    assert isinstance(error, click.UsageError)
    assert f"leave out {option.split('=')[0]}" in error.message
    assert served == []


def test_the_shell_completes_commands_and_options() -> None:
    def complete(words: str) -> set[str]:
        asked = {
            "_PGBOURSE_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        program = "from pgbourse.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | asked,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        return {line.split(",")[1] for line in done.stdout.splitlines()}

    assert complete("pgbourse se") == {"send", "serve"}
    assert {"--http-port", "--http-host"} <= complete("pgbourse serve --http")


@pytest.mark.filterwarnings(
    "ignore:.*make_default_short_help:DeprecationWarning"
)  # click-man 0.6 on click 8.5
def test_there_is_a_manual_page_of_each_command(tmp_path: Path) -> None:
    write_man_pages("pgbourse", cli, target_dir=str(tmp_path))  # as `make man` does
    pages = {path.name for path in tmp_path.iterdir()}
    assert pages == {"pgbourse.1", *(f"pgbourse-{name}.1" for name in cli.commands)}
    assert r"\-\-http\-port" in (tmp_path / "pgbourse-serve.1").read_text()
