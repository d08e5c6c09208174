select
    campaign_id,
    workspace_id,
    name as campaign,
    -- The API writes "Ready to publish" and "Ready to Publish", and may add a status at any time.
    case
        when lower(status) in ('published', 'ready to publish', 'ready for review')
            then replace(lower(status), ' ', '_')
        else 'other'
    end as status,
    created_at,
    published_at
from {{ source('nudgescribe', 'campaigns') }}
