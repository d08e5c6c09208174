"""Settings of both plugins, each declared once."""

from __future__ import annotations

from singer_sdk import typing as th

PRODUCTION_URL = "https://client-api.nudgescribe.com/v1"

CONNECTION_SETTINGS = (
    th.Property(
        "api_url",
        th.StringType,
        default=PRODUCTION_URL,
        title="API URL",
        description=(
            "Root of the Client API. http:// is accepted for loopback addresses only, unless "
            "allow_insecure_http is set."
        ),
    ),
    th.Property(
        "api_key",
        th.StringType(min_length=1),
        required=True,
        secret=True,
        title="API key",
        description="API key that the log-in sends.",
    ),
    th.Property(
        "email",
        th.StringType(min_length=1),
        required=True,
        title="E-mail",
        description="E-mail address of the user that the plugin logs in as.",
    ),
    th.Property(
        "password",
        th.StringType(min_length=1),
        required=True,
        secret=True,
        title="Password",
        description="Password of that user. The user must not require a second factor.",
    ),
    th.Property(
        "api_code",
        th.StringType,
        secret=True,
        title="API code",
        description=(
            "API code for the x-auth-context header. Set it only if the account's gateway asks "
            "for the header."
        ),
    ),
    th.Property(
        "client_ip",
        th.StringType,
        title="Client IP",
        description=(
            "Address for the x-ip audit header. Set it only if the account's gateway asks for "
            "the header."
        ),
    ),
    th.Property(
        "wire_names",
        th.ObjectType(additional_properties=th.StringType),
        title="Wire names",
        description=(
            "Corrects assumed names of the API, from our name to the account's, for example "
            '{"customer_group_id": "cg_id"}. `tap-nudgescribe --check` says which are needed.'
        ),
    ),
    th.Property(
        "workspace_ids",
        th.ArrayType(th.StringType),
        title="Workspace ids",
        description=(
            "Workspaces to read besides those that have campaigns: the API lists no others."
        ),
    ),
    th.Property(
        "request_timeout_seconds",
        th.IntegerType(minimum=1),
        default=60,
        title="Request timeout",
        description="Seconds to wait for a connection, and between two pieces of an answer.",
    ),
    th.Property(
        "max_tries",
        th.IntegerType(minimum=1),
        default=6,
        title="Tries",
        description="How often a request that is safe to repeat is sent before it fails.",
    ),
    th.Property(
        "max_parallel_requests",
        th.IntegerType(minimum=1, maximum=64),
        default=4,
        title="Parallel requests",
        description="How many requests may be under way at once.",
    ),
    th.Property(
        "max_requests_per_second",
        th.IntegerType(minimum=1),
        title="Request budget",
        description="Upper bound on requests a second, over all streams. Unbounded when not set.",
    ),
    th.Property(
        "user_agent",
        th.StringType,
        title="User agent",
        description="Replaces the User-Agent header, which otherwise names this package.",
    ),
    th.Property(
        "ca_bundle",
        th.StringType,
        title="CA bundle",
        description="File of certificates to trust instead of the usual ones.",
    ),
    th.Property(
        "allow_insecure_http",
        th.BooleanType,
        default=False,
        title="Allow plain HTTP",
        description="Accept an http:// api_url that is no loopback address. Credentials travel "
        "readable.",
    ),
)

TAP_SETTINGS = (
    *CONNECTION_SETTINGS,
    th.Property(
        "start_date",
        th.DateTimeType,
        title="Start date",
        description="Incremental streams leave out what last changed before this moment.",
    ),
    th.Property(
        "end_date",
        th.DateTimeType,
        title="End date",
        description=(
            "Incremental streams leave out what changed at or after this moment: for backfills."
        ),
    ),
    th.Property(
        "lookback_days",
        th.IntegerType(minimum=0),
        default=0,
        title="Lookback days",
        description="Incremental streams start this many days before their bookmark.",
    ),
    th.Property(
        "message_column_types",
        th.ObjectType(
            additional_properties=th.StringType(
                allowed_values=["string", "integer", "number", "boolean", "date", "date-time"],
            ),
        ),
        title="Message column types",
        description=(
            "Types of published message columns, by column name. Columns not named are strings."
        ),
    ),
    th.Property(
        "message_storage_root",
        th.StringType,
        title="Message storage root",
        description=(
            "Read message files from their storage itself, not through the API: s3://bucket, "
            "gs://bucket, az://container or file:///folder, below which production/messages/ "
            "lies. Credentials are those that the cloud's own client finds."
        ),
    ),
    th.Property(
        "message_storage_account",
        th.StringType,
        title="Message storage account",
        description=(
            "Folder of the account below production/messages/, if the log-in does not name it."
        ),
    ),
    th.Property(
        "message_encoding_errors",
        th.StringType(allowed_values=["fail", "replace"]),
        default="fail",
        title="Message encoding errors",
        description=(
            "Whether a message file that is not UTF-8 fails, or is read with U+FFFD in the "
            "places that are not."
        ),
    ),
    th.Property(
        "message_row_errors",
        th.StringType(allowed_values=["keep", "fail"]),
        default="keep",
        title="Message row errors",
        description=(
            "Whether a row with too few or too many fields is kept, with all of them in _extra, "
            "or fails its file."
        ),
    ),
    th.Property(
        "message_longest_row_mib",
        th.IntegerType(minimum=1, maximum=64),
        default=1,
        title="Longest message row",
        description=(
            "Mebibytes that a row of a message file may have. The memory that is needed grows by "
            "40 times as much."
        ),
    ),
    th.Property(
        "batch_file_mib",
        th.IntegerType(minimum=1),
        default=256,
        title="Batch file size",
        description=(
            "With batch_config, begin a new file after about so many mebibytes of records, if "
            "batch_size rows are not reached before."
        ),
    ),
    th.Property(
        "publish_ready_campaigns",
        th.BooleanType,
        default=False,
        title="Publish ready campaigns",
        description=(
            'Before published_messages is read, publish every campaign in "Ready to publish". '
            "This changes the account and spends its quota."
        ),
    ),
    th.Property(
        "publish_timeout_seconds",
        th.IntegerType(minimum=1),
        default=900,
        title="Publish timeout",
        description="Seconds to wait for the files of a campaign that this run published.",
    ),
    th.Property(
        "emit_activate_version_messages",
        th.BooleanType,
        default=False,
        title="Emit ACTIVATE_VERSION",
        description=(
            "Send ACTIVATE_VERSION for full-table streams, so that a target can remove what is "
            "gone from the account."
        ),
    ),
)

TARGET_SETTINGS = (
    *CONNECTION_SETTINGS,
    th.Property(
        "workspace_id",
        th.StringType(min_length=1),
        required=True,
        title="Workspace id",
        description="Workspace that rows are sent to.",
    ),
)
