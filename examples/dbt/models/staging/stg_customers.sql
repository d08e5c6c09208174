select
    customer_group_id || '/' || customer_id as customer_key,
    customer_group_id,
    customer_id,
    customer_ref,
    e_mail_work as email,
    {{ profile_value('First Name') }} as first_name,
    {{ profile_value('first-name') }} as second_name,
    birthday,
    joined,
    total_spend,
    total_spend_currency,
    case
        when {{ profile_value('größe') }} ~ '^[0-9]+([.][0-9]+)?$'
            then cast({{ profile_value('größe') }} as numeric(18, 4))
    end as size,
    case when tier in ('Bronze', 'Silver', 'Gold, 24 ct') then tier end as tier,
    case when length(grade) = 1 then grade end as grade,
    created_at,
    updated_at
from {{ source('nudgescribe', 'customers') }}
