"""A tiny client for the demo and the tests: ``python stand_in.py --print -p TEXT``.

What is imitated: how kimi-cli 1.51.0 finds its credentials (docs/reference/clients.md), its exit
codes and its error text. It sends one request without a stream, to loopback only, and does nothing
else that the real one does.

``KIMI_STANDIN_DELAY_S`` is the time between start and reading the config: the real client takes
seconds, and a test of "told alpha, sends alpha" needs that gap.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kmi.errors import ConfigError
from kmi.kimi_config import parse_toml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VERSION = "kimi, version 0.0.0 (stand-in)"
TRY_AGAIN = 75  # kimi-cli's own code for failures that may pass
TIMEOUT_S = 30.0


class StandInError(Exception):
    """The run ends with a text on stdout and a status."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def config_path(given: str | None, env: Mapping[str, str]) -> Path:
    """The config that kimi-cli would read; an empty ``KIMI_SHARE_DIR`` counts as unset."""
    if given is not None:
        return Path(given).expanduser()
    share = env.get("KIMI_SHARE_DIR")
    return (Path(share) if share else Path.home() / ".kimi") / "config.toml"


def read_config(path: Path) -> dict[str, Any]:
    """The config; {} when there is none. A byte order mark is accepted, as Kimi Code does.

    Raises:
        StandInError: the file is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    try:
        return parse_toml(text, str(path))
    except ConfigError as error:
        raise StandInError(f"Invalid TOML in configuration file {path}: {error}", 1) from error


def credentials(config: Mapping[str, Any], env: Mapping[str, str]) -> tuple[str, str, str]:
    """Base URL, key and model: ``default_model``, its provider, and what the environment beats.

    The variables reach only providers of type "kimi"; without any config they are enough alone.

    Raises:
        StandInError: nothing usable is configured.
    """
    alias = str(config.get("default_model", ""))
    model = config.get("models", {}).get(alias, {})
    if alias and not model:
        raise StandInError(f"Default model {alias} not found in models", 1)
    provider = config.get("providers", {}).get(model.get("provider"), {})
    base_url, key = str(provider.get("base_url", "")), str(provider.get("api_key", ""))
    name = str(model.get("model", ""))
    if provider.get("type", "kimi") == "kimi":
        base_url = env.get("KIMI_BASE_URL") or base_url
        key = env.get("KIMI_API_KEY") or key
        name = env.get("KIMI_MODEL_NAME") or name
    if provider.get("oauth"):
        key = oauth_token(provider["oauth"], env) or key
    if not (base_url and key and name):
        raise StandInError("LLM not set", 1)
    return base_url, key, name


def oauth_token(ref: Mapping[str, Any], env: Mapping[str, str]) -> str:
    """The access token behind an ``oauth`` reference, which beats every key; "" without one."""
    share = env.get("KIMI_SHARE_DIR")
    home = Path(share) if share else Path.home() / ".kimi"
    name = str(ref.get("key", "")).rpartition("/")[2]
    try:
        token = json.loads((home / "credentials" / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(token.get("access_token", "")) if isinstance(token, dict) else ""


def chat(base_url: str, key: str, model: str, prompt: str) -> str:
    """Send one chat request.

    Raises:
        StandInError: as the real client fails, with its text.
    """
    url = urlsplit(base_url)
    if url.scheme != "http" or url.hostname not in {"127.0.0.1", "localhost", "::1"}:
        raise StandInError(f"the stand-in talks to loopback only, not to {url.hostname}", 1)
    request = {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": False}
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=TIMEOUT_S)
    try:
        path = f"{url.path.rstrip('/')}/chat/completions"
        connection.request("POST", path, json.dumps(request), headers)
        answer = connection.getresponse()
        status, data = answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise StandInError("Connection error.", TRY_AGAIN) from error
    finally:
        connection.close()
    try:
        body = json.loads(data)
    except ValueError:
        body = data.decode("utf-8", "replace")
    if status != 200:
        # The real client prints Python's repr of the body, not JSON.
        text = f"Error code: {status} - {body!r}"
        raise StandInError(text, TRY_AGAIN if status == 429 or status >= 500 else 1)
    return str(body["choices"][0]["message"]["content"])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stand-in."""
    parser = argparse.ArgumentParser(prog="kimi", description=main.__doc__)
    parser.add_argument("-V", "--version", action="version", version=VERSION)
    parser.add_argument("--config-file", metavar="FILE")
    parser.add_argument("--print", action="store_true", help="accepted, as the real one needs it")
    parser.add_argument("-p", "-c", "--prompt", "--command", metavar="TEXT", default="hi")
    options = parser.parse_args(argv)
    time.sleep(float(os.environ.get("KIMI_STANDIN_DELAY_S") or 0.0))
    try:
        config = read_config(config_path(options.config_file, os.environ))
        base_url, key, model = credentials(config, os.environ)
        print(chat(base_url, key, model, options.prompt))
    except StandInError as failed:
        print(failed)
        return failed.status
    return 0


if __name__ == "__main__":
    sys.exit(main())
