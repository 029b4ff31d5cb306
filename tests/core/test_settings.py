from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from core.errors import InvalidRequest
from core.settings import PREFIX, RENAMED, Settings, adopt_new_names, load_settings
from core.store.store import open_store
from core.system.host import available_cores


def test_without_environment_everything_has_a_default(tmp_path: Path) -> None:
    settings = load_settings({})
    assert (settings.host, settings.port, settings.run_trainer) == ("127.0.0.1", 3000, True)
    assert settings.resolved_workers == available_cores() >= 1
    assert settings.resolved_database_url == f"sqlite:///{Path.cwd()}/evergreen-data/evergreen.db"
    assert settings.resolved_blob_url == f"{Path.cwd()}/evergreen-data/blobs"


def test_every_setting_comes_from_its_variable() -> None:
    settings = load_settings(
        {
            "EVERGREEN_HOME": "/data",
            "EVERGREEN_PORT": "8080",
            "EVERGREEN_WORKERS": "3",
            "EVERGREEN_MAX_BODY_MB": "0.5",
            "EVERGREEN_RECIPE": "/etc/recipe.toml",
            "EVERGREEN_RUN_TRAINER": "false",
            "EVERGREEN_DEVICE": "cpu",
            "EVERGREEN_SHADOW_VERSIONS": "3, 5",
            "EVERGREEN_BLOB_URL": "s3://bucket/blobs",
        }
    )
    assert settings == Settings(
        home=Path("/data"),
        port=8080,
        workers=3,
        max_body_mb=0.5,
        recipe=Path("/etc/recipe.toml"),
        run_trainer=False,
        device="cpu",
        shadow_versions=(3, 5),
        blob_url="s3://bucket/blobs",
    )
    assert settings.max_body_bytes == 500_000
    assert settings.resolved_database_url == "sqlite:////data/evergreen.db"
    assert settings.resolved_blob_url == "s3://bucket/blobs"


def test_environment_is_read_when_none_is_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREEN_PORT", "4321")
    assert load_settings().port == 4321


def test_environment_that_is_passed_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREEN_PORT", "4321")
    monkeypatch.setenv("EVERGREEN_HOME", "/elsewhere")
    assert load_settings({"EVERGREEN_HOME": "/data"}) == Settings(home=Path("/data"))
    assert Settings().port == 3000


def test_empty_variable_counts_as_unset() -> None:
    empty = dict.fromkeys([f"{PREFIX}{name.upper()}" for name in Settings.model_fields], "")
    empty |= dict.fromkeys(RENAMED, "")
    assert load_settings(empty) == load_settings({})


def test_variables_without_the_prefix_are_ignored() -> None:
    assert load_settings({"PORT": "1", "HOME": "/root", "EVERGREENISH": "1"}) == load_settings({})


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("EVERGREEN_PROT", "; did you mean EVERGREEN_PORT?"),
        ("EVERGREEN_DATABASE", "; did you mean EVERGREEN_DATABASE_URL?"),
        ("EVERGREEN_MAX_BODY", "; did you mean EVERGREEN_MAX_BODY_MB?"),
        ("EVERGREEN_port", "; did you mean EVERGREEN_PORT?"),
    ],
)
def test_misspelled_name_is_refused_with_the_right_one(name: str, hint: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        load_settings({name: "1"})
    assert str(caught.value) == f"{name} is not a setting{hint}"


def test_all_problems_are_reported_together() -> None:
    with pytest.raises(InvalidRequest) as caught:
        load_settings(
            {
                "EVERGREEN_PORT": "70000",
                "EVERGREEN_DEVICE": "tpu",
                "EVERGREEN_WORKERS": "many",
                "EVERGREEN_HOMEE": "/data",
            }
        )
    message = str(caught.value)
    assert "EVERGREEN_PORT='70000': Input should be less than or equal to 65535" in message
    assert "EVERGREEN_DEVICE='tpu': Input should be 'auto', 'cpu' or 'cuda'" in message
    assert "EVERGREEN_WORKERS='many'" in message
    assert "did you mean EVERGREEN_HOME?" in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "x"),
        ("WORKERS", "-1"),
        ("ONNX_THREADS", "0"),
        ("MAX_BODY_MB", "0"),
        ("MAX_PIXELS", "0"),
        ("LOG_LEVEL", "loud"),
        ("RUN_TRAINER", "perhaps"),
        ("PROVIDER", "tpu"),
        ("SHADOW_VERSIONS", "0"),
    ],
)
def test_value_out_of_range_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidRequest, match=f"EVERGREEN_{name}='{value}'"):
        load_settings({f"EVERGREEN_{name}": value})


OLD_NAMES = {
    "EVERGREEN_SHADOW": "3,5",
    "EVERGREEN_TRAINER": "false",
    "EVERGREEN_PROVIDER": "cpu",
    "EVERGREEN_THREADS": "2",
}


def test_old_name_of_a_setting_still_works() -> None:
    assert load_settings(OLD_NAMES) == Settings(
        shadow_versions=(3, 5), run_trainer=False, device="cpu", onnx_threads=2
    )


@pytest.mark.parametrize("old", OLD_NAMES)
def test_old_and_new_name_together_are_refused(old: str) -> None:
    both = {old: OLD_NAMES[old], RENAMED[old]: OLD_NAMES[old]}
    with pytest.raises(InvalidRequest) as caught:
        load_settings(both)
    assert str(caught.value) == f"{old} and {RENAMED[old]} are one setting; set only {RENAMED[old]}"


def test_old_name_is_logged_once_and_replaced(caplog: pytest.LogCaptureFixture) -> None:
    environ = {"EVERGREEN_THREADS": "2", "EVERGREEN_PROVIDER": "", "PATH": "/bin"}
    adopt_new_names(environ)
    adopt_new_names(environ)
    assert environ == {"EVERGREEN_ONNX_THREADS": "2", "PATH": "/bin"}
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("WARNING", "setting.renamed")
    assert (vars(record)["old"], vars(record)["new"]) == (
        "EVERGREEN_THREADS",
        "EVERGREEN_ONNX_THREADS",
    )


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux only")
def test_cores_are_those_that_may_be_used() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize("name", ["100%", "50%25", "a%20b", "what?", "a#b", "ä ö", "it's", 'a"b'])
def test_database_is_in_the_home_whatever_its_name(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    store = open_store(load_settings({"EVERGREEN_HOME": str(home)}))
    store.db.close()
    assert {path.name for path in home.iterdir()} == {"evergreen.db", "blobs"}
    assert list(tmp_path.iterdir()) == [home]


def test_home_of_the_user_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings({"EVERGREEN_HOME": "~/data"}).home == tmp_path / "data"
    assert load_settings({"EVERGREEN_RECIPE": "~/r.toml"}).recipe == tmp_path / "r.toml"
    assert load_settings({"EVERGREEN_BLOB_URL": "~/b"}).blob_url == str(tmp_path / "b")
    for name in ("HOME", "BLOB_URL"):
        with pytest.raises(InvalidRequest, match="whole path"):
            load_settings({f"EVERGREEN_{name}": "~no-such-user/data"})


def test_database_in_the_home_of_the_user_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    user = tmp_path / "50%25"
    user.mkdir()
    monkeypatch.setenv("HOME", str(user))
    settings = load_settings(
        {"EVERGREEN_HOME": "~/home", "EVERGREEN_DATABASE_URL": "sqlite:///~/facts.db"}
    )
    open_store(settings).db.close()
    assert {path.name for path in user.iterdir()} == {"home", "facts.db"}
    assert list(tmp_path.iterdir()) == [user]


@pytest.mark.parametrize(
    ("value", "why"),
    [("/data\r", "carriage return"), ('"/data"', "quotes"), ("'/data'", "quotes"), ("\t", "invis")],
)
def test_value_with_what_a_file_left_in_it_is_refused(value: str, why: str) -> None:
    for key in ("EVERGREEN_HOME", "EVERGREEN_BLOB_URL", "EVERGREEN_DATABASE_URL"):
        with pytest.raises(InvalidRequest, match=f"{key}: .*{why}"):
            load_settings({key: value})


def test_key_of_clients_may_be_in_the_same_shell() -> None:
    assert load_settings({"EVERGREEN_API_KEY": "eg_1_2"}) == load_settings({})
