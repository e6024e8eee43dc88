"""template: Go's text/template as Docker's users write it: `--format`, log tags, swarm placeholders.

    text.Template('{{json .Mounts}}').render(data)

Text is cut into tokens (`lexer`), tokens become nodes (`parser`, `nodes`), nodes are walked (`evaluate`) with the
functions of `functions`. Standard library only; json is imported by the function of that name alone."""
