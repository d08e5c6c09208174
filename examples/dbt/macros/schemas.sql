{# A model's schema is the one that it names, whatever the profile's is. #}
{% macro generate_schema_name(name, node) %}{{ name or target.schema }}{% endmacro %}
