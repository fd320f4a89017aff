"""Where secrets come from: environment references of the config, resolved at the moment of use, and masked in all that is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runner.manifest.config import Config
from runner.manifest.presets import PRESETS
from runner.manifest.references import names, resolve_secret
from runner.redact import SENSITIVE, SHORTEST, Redactor


class SecretSource:
    """`get(NAME)` for `secrets.NAME` of manifests, and the redactor that knows every credential of the config."""

    def __init__(self, config: Config, env: Mapping[str, str]) -> None:
        self._config = config
        self.env = env

    def get(self, name: str) -> str:
        """The value. Raises KeyError when config does not define it, InvalidInput when its variable is not set or too short."""
        return resolve_secret(self._config.secrets[name], self.env, entry=f"secrets.{name}").get_secret_value()

    def redactor(self) -> Redactor:
        """Masks every variable that the config names as a secret and that is set."""
        found = {name: self.env[name] for name in self._variables() if len(self.env.get(name, "")) >= SHORTEST}
        return Redactor(found)

    def _variables(self) -> Iterator[str]:
        config = self._config
        for text in [*config.secrets.values(), config.github_key]:
            yield from names(text)
        for endpoint in config.models.endpoints.values():
            yield from names(endpoint.api_key or "")
        for server in config.mcp_servers.values():
            yield from names(server.token or "")
            if server.preset:
                yield from filter(SENSITIVE.search, PRESETS[server.preset].inherits)
            for value in server.headers.values():
                yield from names(value)
            for key, value in server.env.items():
                if SENSITIVE.search(key):
                    yield from names(value)
