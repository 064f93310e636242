"""What the clouds' kinds take beside a key: where an account stands, and the identities that sign for it."""

from __future__ import annotations

from pydantic import Field

from gateway.config.secret import Secret
from gateway.config.section import Section
from gateway.config.units import Url


class CloudSettings(Section):
    """Settings of `azure`, `vertex` and `bedrock`; each kind takes those that its description names."""

    endpoint: Url | None = Field(default=None, description="`azure`: the resource's address, instead of `base_url`.")
    api_version: str | None = Field(
        default=None, description="`azure`: the dated API to speak; not set, its `/openai/v1` is spoken."
    )
    tenant_id: str | None = Field(default=None, description="`azure`: the directory of an application that signs in.")
    client_id: str | None = Field(default=None, description="`azure`: the application's id.")
    client_secret: Secret | None = Field(default=None, description="`azure`: the application's secret.")
    project: str | None = Field(default=None, description="`vertex`: the project that is charged.")
    region: str | None = Field(default=None, description="`vertex`, `bedrock`: where the models run; `global` is one.")
    credentials: Secret | None = Field(
        default=None,
        description="`vertex`: the JSON file of a service account or another identity, as a path or as text; not set, "
        "the surroundings' own (application default credentials).",
    )
    access_token: Secret | None = Field(default=None, description="`vertex`: a token that is renewed elsewhere.")
    access_key_id: Secret | None = Field(
        default=None, description="`bedrock`: an access key; not set, AWS's own chain of credentials is asked."
    )
    secret_access_key: Secret | None = Field(default=None, description="`bedrock`: its secret.")
    session_token: Secret | None = Field(default=None, description="`bedrock`: the session that both belong to.")
    profile: str | None = Field(default=None, description="`bedrock`: a profile of AWS's own config files.")
    role_arn: str | None = Field(default=None, description="`bedrock`: a role to take on.")
    external_id: str | None = Field(default=None, description="`bedrock`: what the role's owner asks for beside.")

    @property
    def cloud_settings(self) -> dict[str, object]:
        """What is set of these, by name."""
        names = CloudSettings.model_fields.keys() & self.model_fields_set
        return {name: getattr(self, name) for name in sorted(names)}
