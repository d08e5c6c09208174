select
    campaign_id || '/' || run_number || '/' || file_number || '/' || row_number as message_key,
    campaign_id || '/' || run_number as run_key,
    published_at
from {{ source('nudgescribe', 'published_messages') }}
