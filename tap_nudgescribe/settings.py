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
        secret=True,
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
            "Corrects assumed names of the API, from our name to the account's, by key, "
            'object.key, operation.key or operation.object.key: {"campaign.campaign_id": "id", '
            '"count_customer_pages.pages": "page_count"}. `tap-nudgescribe --check` prints the '
            "value to set."
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
        th.IntegerType(minimum=1, maximum=86_400),
        default=60,
        title="Request timeout",
        description=(
            "Seconds to wait for a connection, and between two pieces of an answer. A whole "
            "answer may take ten times as long."
        ),
    ),
    th.Property(
        "max_tries",
        th.IntegerType(minimum=1, maximum=100),
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
        th.IntegerType(minimum=1, maximum=100_000),
        title="Request budget",
        description="Upper bound on requests a second, over all streams. Unbounded when not set.",
    ),
    th.Property(
        "max_answer_mib",
        th.IntegerType(minimum=1, maximum=65_536),
        default=256,
        title="Largest answer",
        description="Mebibytes that an answer of the API may have, after decompression.",
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
    th.Property(
        "allow_private_storage",
        th.BooleanType,
        default=False,
        title="Allow private storage",
        description=(
            "Download message files from private addresses as well, as a company's own link to a "
            "storage has them. Without it the API can send this machine to public addresses only."
        ),
    ),
    # The SDK's own says nothing of secrecy, though this is the place for a salt.
    th.Property(
        "stream_map_config",
        th.ObjectType(),
        secret=True,
        title="Stream map configuration",
        description="Values that expressions of stream_maps read as config['name']: a salt, say.",
    ),
)

BATCH_COMPRESSIONS = ["gzip", "none", "snappy", "zstd", "lz4"]
"""Of batch files: all of Parquet, the first two of JSON lines."""

BATCH_DESCRIPTION = (
    'Write files, and BATCH messages that name them: {"encoding": {"format": "parquet", '
    '"compression": "zstd"}, "storage": {"root": "s3://bucket/folder", "prefix": "x-"}, '
    '"batch_size": 100000}. Parquet may be compressed with snappy, gzip, zstd, lz4 or none, jsonl '
    "with gzip or none."
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
        th.IntegerType(minimum=0, maximum=36_500),
        default=0,
        title="Lookback days",
        description="Incremental streams start this many days before their bookmark.",
    ),
    th.Property(
        "message_columns",
        th.ArrayType(th.StringType(min_length=1)),
        title="Message columns",
        description=(
            "Header names of message files that get a column of their own, besides those that "
            "discovery finds in a sample of files. A warning of a run lists the names to add."
        ),
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
            "or fails its file. The same holds for the last row of a file that ends inside quotes; "
            "it fails in any case where a column of it, or _extra, is not selected."
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
        th.IntegerType(minimum=1, maximum=1_048_576),
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
        th.IntegerType(minimum=1, maximum=604_800),
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

PERCENT = th.CustomType(
    {
        "type": ["number", "string", "null"],
        "minimum": 0,
        "maximum": 100,
        "pattern": r"^(100(\.0+)?|\d{1,2}(\.\d+)?)$",
    }
)
"""A share, perhaps as text: neither the SDK nor Meltano makes a number of a variable's value."""

TARGET_SETTINGS = (
    *CONNECTION_SETTINGS,
    th.Property(
        "workspace_id",
        th.StringType(min_length=1),
        required=True,
        title="Workspace id",
        description="Workspace that rows are sent to.",
    ),
    th.Property(
        "customer_group",
        th.StringType(min_length=1),
        title="Customer group",
        description=(
            "Name or id of the group that all rows go to. When it is not set, each row names its "
            "group in the column customer_group_id or customer_group, or in the one that "
            "column_map names for customer_group."
        ),
    ),
    th.Property(
        "create_missing_groups",
        th.BooleanType,
        default=False,
        title="Create missing groups",
        description="Create a customer group that is named and does not exist.",
    ),
    th.Property(
        "create_missing_fields",
        th.BooleanType,
        default=False,
        title="Create missing fields",
        description=(
            "Create a profile field for each column that has none, of the type that the SCHEMA "
            "says."
        ),
    ),
    th.Property(
        "unknown_columns",
        th.StringType(allowed_values=["ignore", "refuse"]),
        default="ignore",
        title="Unknown columns",
        description="What to do with columns that no profile field takes: ignore, or refuse all.",
    ),
    th.Property(
        "identifier",
        th.StringType(min_length=1),
        title="Identifier",
        description=(
            "Profile field by which customers are told apart. When it is not set, it is the field "
            "marked as unique identifier; of several, the one that the stream's key goes into."
        ),
    ),
    th.Property(
        "column_map",
        th.ObjectType(
            additional_properties=th.OneOf(
                th.StringType,
                th.ObjectType(
                    th.Property("constant", th.StringType, required=True),
                    additional_properties=False,
                ),
            ),
        ),
        title="Column map",
        description=(
            "Column for a profile field where their names differ, and constants: "
            '{"E-Mail": "mail_address", "Country": {"constant": "DE"}}. The key customer_group '
            "names the column with the group. For anything more use stream_maps."
        ),
    ),
    th.Property(
        "stream_kind",
        th.ObjectType(
            additional_properties=th.StringType(
                allowed_values=[
                    "customers",
                    "customer_groups",
                    "profile_fields",
                    "campaign_publications",
                    "campaign_reruns",
                ],
            ),
        ),
        title="Stream kind",
        description=(
            "What a stream holds, by stream name. A stream that is not named is what it is called, "
            "and customers if it is called otherwise."
        ),
    ),
    th.Property(
        "mode",
        th.StringType(allowed_values=["upsert", "delete", "mirror"]),
        default="upsert",
        title="Mode",
        description=(
            "upsert: create and update. delete: each row names what to delete. mirror: upsert, and "
            "at the end delete the customers that this target sent earlier and that the whole "
            "table no longer has. A row with a timestamp in _sdc_deleted_at is deleted in every "
            "mode."
        ),
    ),
    th.Property(
        "null_policy",
        th.ObjectType(
            additional_properties=th.StringType(allowed_values=["overwrite", "keep", "fail"]),
        ),
        title="Null policy",
        description=(
            "What null means, by profile field, * for all others: overwrite clears the value "
            "(default), keep leaves it, fail refuses the row. A column that a record lacks never "
            "clears a value."
        ),
    ),
    th.Property(
        "upload_encoding",
        th.StringType(allowed_values=["multipart", "json"]),
        default="multipart",
        title="Upload encoding",
        description=(
            "Send customers as a CSV file (multipart) or as JSON. JSON sends rows with different "
            "columns together; a CSV file takes an upload for each set of columns."
        ),
    ),
    th.Property(
        "server_validation",
        th.StringType(allowed_values=["none", "before_upload"]),
        default="none",
        title="Server validation",
        description=(
            "before_upload lets the API check each batch before it is uploaded. The upload checks "
            "as well, so this only doubles the requests unless uploads are queued."
        ),
    ),
    th.Property(
        "batch_size_rows",
        th.IntegerType(minimum=1, maximum=10_000_000),
        default=10_000,
        title="Batch size in rows",
        description="Most rows of one upload.",
    ),
    th.Property(
        "batch_size_bytes",
        th.IntegerType(minimum=1024, maximum=2**31),
        default=8 * 1024 * 1024,
        title="Batch size in bytes",
        description="Most bytes of one upload; a single row may be larger.",
    ),
    th.Property(
        "max_rejected_rows",
        th.IntegerType(minimum=0),
        title="Rejected rows allowed",
        description=(
            "How many rows may be invalid or rejected before the run ends with exit code 3. 0 when "
            "neither this nor max_rejected_percent is set."
        ),
    ),
    th.Property(
        "max_rejected_percent",
        PERCENT,
        title="Rejected share allowed",
        description="How many percent of the rows may be; both bounds hold when both are set.",
    ),
    th.Property(
        "max_delete_rows",
        th.IntegerType(minimum=0),
        default=1000,
        title="Deletes allowed",
        description="Most customers of a group that are deleted at once; with more, nobody is.",
    ),
    th.Property(
        "max_delete_percent",
        PERCENT,
        title="Delete share allowed",
        description="Most percent of a group's customers that are deleted at once.",
    ),
    th.Property(
        "mirror_trusts_end_of_input",
        th.BooleanType,
        default=False,
        title="Mirror trusts the end of the input",
        description=(
            "Take a bare end of the input for the end of the table. A tap that crashed looks the "
            "same, and customers would be deleted whom it had not sent."
        ),
    ),
    th.Property(
        "state_uri",
        th.StringType(min_length=1),
        default=".target-nudgescribe",
        title="State URI",
        description=(
            "Where ledger, rejects and run summaries are kept: a folder, s3://, gs:// or az://."
        ),
    ),
    th.Property(
        "rejects_format",
        th.StringType(allowed_values=["csv", "jsonl", "parquet"]),
        default="jsonl",
        title="Format of rejects",
        description="Format of the files of rows that were not taken.",
    ),
    th.Property(
        "rejects_rows",
        th.StringType(allowed_values=["full", "masked", "none"]),
        default="masked",
        title="Rows in rejects",
        description=(
            "How those files show the rows: in full, which --replay needs; masked, the shape of "
            "each value; or none."
        ),
    ),
    th.Property(
        "hash_key",
        th.StringType(min_length=16),
        secret=True,
        title="Hash key",
        description=(
            "Secret key for the hashes of identifiers and rows in the ledger and in rejects, 16 "
            "characters or more. Without it, whoever has the ledger and a list of identifiers can "
            "test which of them it holds. A ledger works only with the key it was written with."
        ),
    ),
    th.Property(
        "rejects_keep_days",
        th.IntegerType(minimum=1),
        title="Days to keep rejects",
        description=(
            "At the end of a successful run, remove rejects that were written more than this many "
            "days ago. Not set: keep all."
        ),
    ),
    th.Property(
        "runs_keep_days",
        th.IntegerType(minimum=1),
        title="Days to keep run summaries",
        description=(
            "At the end of a successful run, remove run summaries that were written more than this "
            "many days ago. Not set: keep all."
        ),
    ),
    th.Property(
        "state_on_failure",
        th.StringType(allowed_values=["hold", "advance"]),
        default="hold",
        title="State on failure",
        description=(
            "Whether the state moves on when more rows are rejected than allowed. It never does "
            "when the outcome of an upload is unknown."
        ),
    ),
    th.Property(
        "verify",
        th.StringType(allowed_values=["none", "sample", "full"]),
        default="none",
        title="Verify",
        description=(
            "Read customers back after the upload and compare: none, a sample of 100 rows a batch, "
            "or all. Encrypted fields cannot be compared."
        ),
    ),
    th.Property(
        "confirm_timeout_seconds",
        th.IntegerType(minimum=1, maximum=604_800),
        default=900,
        title="Confirmation timeout",
        description="Seconds until queued rows must have arrived, or a rerun be made.",
    ),
    th.Property(
        "allow_field_delete",
        th.BooleanType,
        default=False,
        title="Allow field deletes",
        description="Let profile_fields delete fields, with the data that customers have in them.",
    ),
)
