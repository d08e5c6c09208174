select
    customer_group_id,
    workspace_id,
    name as customer_group
from {{ source('nudgescribe', 'customer_groups') }}
