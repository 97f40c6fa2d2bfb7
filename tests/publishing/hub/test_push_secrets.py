# SPDX-License-Identifier: Apache-2.0
"""Tokens are nowhere: not in what is pushed, saved, logged, printed or raised, whatever happens."""

import json
import traceback

import pytest
import torch
from hub_runs import POLICY, TOKEN, USERS, Keeper, saved_model, trainer
from huggingface_hub import constants
from safetensors.torch import save_file

from logitmix_nlp.commands.push import main
from logitmix_nlp.publishing.hub.public_text import public_arguments, public_result, public_text
from logitmix_nlp.publishing.hub.retries import HubPushError, cause_of
from logitmix_nlp.publishing.hub.secrets import find_secret, is_secret_name, redact, without_credentials
from logitmix_nlp.publishing.hub.upload import Target, push_files

ECHO = json.dumps({"error": f"bad token {TOKEN}"}).encode()
SCENARIOS = {
    "all is well": [],
    "the Hub repeats the token in a refusal": [("/commit/", {"status": 403, "body": ECHO})],
    "in every refusal": [("POST", {"status": 403, "body": ECHO, "headers": {"X-Error-Message": f"not {TOKEN}"}})],
    "while it is out of order": [("POST", {"status": 503, "body": ECHO, "headers": {"X-Error-Message": TOKEN}})],
    "in the card's errors": [
        ("validate", {"status": 400, "body": b'{"errors": [{"message": "%s"}]}' % TOKEN.encode()})
    ],
    "connections break": [("/commit/", {}), ("/preupload/", {})],
}


@pytest.mark.parametrize("login", ["argument", "environment"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_holds_the_token(server, tmp_path, monkeypatch, caplog, capfd, name, login):
    if login == "environment":
        monkeypatch.setenv("HF_TOKEN", TOKEN)
    raised = []

    def train():
        run = trainer(tmp_path / "out", Keeper(), hub_token=TOKEN if login == "argument" else None)
        run.train()
        run.save_model()
        try:
            run.push_to_hub()
        except HubPushError as error:
            raised.append(error)
        assert run.args.hub_token == (TOKEN if login == "argument" else None)
        return run

    for pattern, how in SCENARIOS[name]:
        server.fail(pattern, **how)
    with caplog.at_level("INFO"):
        run = train()
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        status = main([str(tmp_path / "out"), "--repo_id", "me/tiny"], run.retry_policy)
    assert (status, len(raised)) == ((0, 0) if not SCENARIOS[name] else (1, 1))
    printed = capfd.readouterr()
    said = [caplog.text, printed.out, printed.err, str(run.push_error)]
    said += ["".join(traceback.format_exception(error)) for error in raised]
    assert [text for text in said if TOKEN in text] == []
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) > 20
    contents = [path.read_bytes() for path in files] + server.bodies
    for repository in server.store.repositories.values():
        contents += [data for commit in repository.commits for data in commit.files.values()]
    assert not any(TOKEN.encode() in content for content in contents)


def test_saved_arguments_are_whole_but_for_the_token(server, tmp_path):
    run = trainer(tmp_path / "out")
    run.save_model(str(tmp_path / "elsewhere"), _internal_call=True)
    saved = torch.load(tmp_path / "elsewhere" / "training_args.bin", weights_only=False)
    assert saved.hub_token is None
    assert run.args.hub_token == TOKEN
    assert {**saved.to_dict(), "hub_token": None} == {**run.args.to_dict(), "hub_token": None}
    public = json.loads((tmp_path / "elsewhere" / "training_args.json").read_text())
    assert public == public_arguments(run.args)
    assert public["learning_rate"] == run.args.learning_rate
    assert public["mix_method"] == "vanilla"
    assert public["output_dir"] == "out"
    assert "average_tokens_across_devices" in public
    assert "hub_token" not in public


def test_a_token_in_a_file_stops_the_push(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    folder = saved_model(tmp_path / "model")
    (folder / "README.md").write_text(f"---\nlicense: mit\n---\nUse `token='{TOKEN}'`.\n")
    assert main([str(folder), "--repo_id", "me/tiny"]) == 1
    told = capsys.readouterr().err
    assert "README.md holds an access token" in told
    assert TOKEN not in told
    assert server.requests == []


PLAIN = "plainpassphrase"  # looks like no token
PLACES = {
    "README.md": b"---\nlicense: mit\n---\n%s\n",
    "config.json": b'{"note": "%s"}',
    "vocab.txt": b"[PAD]\n%s\n",
    "merges.txt": b"#version: 0.2\nh f\n%s e\n",
    "dict.txt": b"%s 1\n",
    "bpe.codes": b"%s\n",
    "chat_template.jinja": b"{{ '%s' }}",
    "spiece.model": b"\n\x0e\n\x05\xff\x00%s\x15\x00",
    "eval_results.json": b'{"note": "%s"}',
    ".eval_results/mrpc.yaml": b"- note: %s\n",
    "figures/loss.svg": b"<svg><!-- %s --></svg>",
    "figures/loss.png": b"\x89PNG\r\n\x1a\n\x00\x00tEXtnote\x00%s",
}


@pytest.mark.parametrize("token", [TOKEN, PLAIN], ids=["like a token", "unlike"])
@pytest.mark.parametrize("name", PLACES)
def test_every_kind_of_file_is_searched_for_tokens(server, tmp_path, name, token):
    server.store.users[PLAIN] = USERS[TOKEN]
    folder = saved_model(tmp_path / "model")
    (folder / name).parent.mkdir(exist_ok=True)
    files, target = {name: folder / name}, Target("me/tiny", token)
    (folder / name).write_bytes(PLACES[name] % token.encode())
    with pytest.raises(HubPushError, match=f"{name} holds an access token") as raised:
        push_files(target, files, "Upload", POLICY)
    assert token not in str(raised.value)
    assert server.requests == []
    (folder / name).write_bytes(PLACES[name] % b"a word")
    push_files(target, files, "Upload", POLICY)
    assert server.repository("me/tiny").files[name] == (folder / name).read_bytes()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", "latin-1"])
def test_tokens_are_found_in_every_encoding(encoding, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", PLAIN)
    assert find_secret(f"\u00e9 {TOKEN}".encode(encoding))
    assert find_secret(f"\u00e9 {PLAIN}".encode(encoding))
    assert find_secret("\u00e9 given-token".encode(encoding), "given-token")
    assert not find_secret("\u00e9 hf_bert-base-uncased".encode(encoding))


def test_the_header_of_weights_is_searched(server, tmp_path):
    folder = saved_model(tmp_path / "model")
    save_file({"a": torch.zeros(9)}, folder / "model.safetensors", {"note": f"saved with {TOKEN}"})
    with pytest.raises(HubPushError, match="model.safetensors holds an access token"):
        push_files(Target("me/tiny", TOKEN), {"model.safetensors": folder / "model.safetensors"}, "Upload", POLICY)
    assert server.requests == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://a:PW@host", "https://host"),
        ("see https://a:PW@host/x?b=1, or s3://PW@c/d.", "see https://host/x?b=1, or s3://c/d."),
        ("https://a:P@W@host:80/x", "https://host:80/x"),
        ("https://a:P/W?#@host/x", "https://host/x"),
        ("https://h/x?token=PW&a=b#c", "https://h/x#c"),
        ("https://h/x?X-Amz-Signature=PW", "https://h/x"),
        ('{"a":"https://b:PW@h","c":"d@e"}', '{"a":"https://h","c":"d@e"}'),
        ("https://host:8080/me/tiny@v2", "https://host:8080/me/tiny@v2"),
        ("https://host:8080", "https://host:8080"),
        ("hf://datasets/me/tiny@main/a.csv?b=c#d", "hf://datasets/me/tiny@main/a.csv?b=c#d"),
        ("me@host, a:b@c, https://", "me@host, a:b@c, https://"),
    ],
)
def test_addresses_lose_their_passwords(text, shown):
    assert without_credentials(text) == shown
    assert without_credentials({"a": [text, 1], "b": (None, text)}) == {"a": [shown, 1], "b": [None, shown]}
    assert public_text(f"x {text}") == f"x {shown}"


def test_a_traceback_does_not_show_what_the_hub_said(server, tmp_path):
    server.fail("/commit/", status=403, body=ECHO)
    folder = saved_model(tmp_path / "model")
    with pytest.raises(HubPushError) as raised:
        push_files(Target("me/tiny", TOKEN), {"README.md": folder / "README.md"}, "Upload", POLICY)
    assert TOKEN not in "".join(traceback.format_exception(raised.value))
    assert "bad token <token>" in str(raised.value)


def test_redaction():
    assert redact(f"a {TOKEN}, b") == "a <token>, b"
    assert redact("my secret word", "secret") == "my <token> word"
    assert redact("hf_hub_download and hf_xxx stay") == "hf_hub_download and hf_xxx stay"
    assert redact(ValueError(f"Illegal header value b'Bearer {TOKEN}\\n'")) == (
        "Illegal header value b'Bearer <token>\\n'"
    )
    error = RuntimeError("outer")
    error.__cause__ = ValueError(TOKEN)
    assert cause_of(error) == "outer (ValueError: <token>)"


def test_a_token_of_the_login_is_known(monkeypatch, tmp_path):
    path = tmp_path / "token"
    path.write_text("unusual-token")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(path))
    assert redact("it is unusual-token") == "it is <token>"
    assert find_secret(b"it is unusual-token")
    assert not find_secret(b"it is usual")


NAME = "me/hf_bert-base-uncased-mrpc"


def test_names_that_begin_like_tokens_are_names(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert redact(f"fine-tuned from {NAME} and hf_deberta.v3-large-finetuned") == (
        f"fine-tuned from {NAME} and hf_deberta.v3-large-finetuned"
    )
    assert redact(f"{TOKEN}_x hf_oauth_eyJhbGciOi.JIUzI1NiIs-InR5cCI6IkpXV") == "<token>_x <token>"
    folder = saved_model(tmp_path / "model")
    (folder / "README.md").write_text(f"---\nbase_model: {NAME}\n---\n{NAME}\n")
    for name in ("result.json", "adapter_config.json"):
        (folder / name).write_text(json.dumps({"base_model_name_or_path": NAME}))
    assert main([str(folder), "--repo_id", "me/tiny"], POLICY) == 0
    files = server.repository("me/tiny").files
    assert all(NAME.encode() in files[name] for name in ("README.md", "result.json", "adapter_config.json"))


def test_names_of_secrets():
    secret = ("token", "--hub_token", "push_to_hub_token", "--api-key", "hfToken", "wandb.api_key", "db_password")
    assert all(map(is_secret_name, secret))
    public = ("tokenizer_name", "--tokenizer-name", "include_num_input_tokens_seen", "pad_token", "max_tokens", "seed")
    assert not any(map(is_secret_name, public))


def test_results_are_pushed_without_places_and_kept_with_them(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    folder = saved_model(tmp_path / "model")
    command = ["python", "-m", "glue_runs.runs.run", f"--output_dir={folder}", "--train_file", str(tmp_path / "a.csv")]
    result = {"config": {"output_dir": str(folder), "learning_rate": 1e-5}, "command": command, "seconds": 2.0}
    (folder / "result.json").write_text(json.dumps(result))
    assert main([str(folder), "--repo_id", "me/tiny"], POLICY) == 0
    files = server.repository("me/tiny").files
    assert [name for name, content in files.items() if str(tmp_path).encode() in content] == []
    assert json.loads(files["result.json"]) == {
        "config": {"output_dir": "model", "learning_rate": 1e-5},
        "command": ["python", "-m", "glue_runs.runs.run", "--output_dir=model", "--train_file", "a.csv"],
        "seconds": 2.0,
    }
    assert json.loads((folder / "result.json").read_text()) == result
    assert public_result(b'{"a": [1,  2]}') == b'{"a": [1,  2]}'
