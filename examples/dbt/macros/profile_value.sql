{# A profile field's value as the customer has it, as text. Blank text is no value. #}
{% macro profile_value(field) %}
nullif(trim(cast(profile as json) ->> '{{ field }}'), '')
{%- endmacro %}
