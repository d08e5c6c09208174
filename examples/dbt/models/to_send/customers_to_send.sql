-- Columns are called what the profile fields are called: target-nudgescribe needs no column_map.
select
    customer_group,
    customer_ref as "Customer Ref",
    email as "E-Mail:Work",
    first_name as "First Name",
    second_name as "first-name",
    birthday as "Birthday",
    joined as "Joined",
    total_spend as "Total Spend",
    size as "größe",
    tier as "Tier",
    grade as "Grade"
from {{ ref('stg_customers') }}
inner join {{ ref('stg_customer_groups') }} using (customer_group_id)
where workspace_id = '{{ env_var("NUDGESCRIBE_FROM_WORKSPACE") }}'
