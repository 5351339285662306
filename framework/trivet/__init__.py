"""trivet: a web microframework on Trio, in which a request is a scope."""
