"""Who is asking: credentials from requests, as dependencies that describe themselves in OpenAPI.

Names only. A scheme reads credentials and says how they are asked for; whether they are good is the application's to
say, in a provider of its own that depends on the scheme.
"""

from ._api_key import APIKey as APIKey
from ._basic import Basic as Basic
from ._basic import Credentials as Credentials
from ._bearer import Bearer as Bearer
from ._bearer import OAuth2Password as OAuth2Password
from ._bearer import Required as Required
from ._scheme import OptionalScheme as OptionalScheme
from ._scheme import Scheme as Scheme
from ._secrets import find_secret as find_secret
from ._secrets import same_secret as same_secret
from ._token import PasswordForm as PasswordForm
from ._token import Token as Token
from ._token import token_error as token_error
from ._token import token_response as token_response

__all__ = [
    "APIKey",
    "Basic",
    "Bearer",
    "Credentials",
    "OAuth2Password",
    "OptionalScheme",
    "PasswordForm",
    "Required",
    "Scheme",
    "Token",
    "find_secret",
    "same_secret",
    "token_error",
    "token_response",
]
