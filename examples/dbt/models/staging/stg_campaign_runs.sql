select
    campaign_id || '/' || run_number as run_key,
    campaign_id,
    run_number,
    customer_group_id,
    segment_count,
    cast(cast(message_summary as json) ->> 'total' as integer) as messages,
    published_at
from {{ source('nudgescribe', 'campaign_runs') }}
