// Sentences in the language of the page. MESSAGES holds their forms; English ones are the keys themselves.

/** A sentence with its {name} placeholders filled in. */
function gettext(message, values = {}) {
  return filled(MESSAGES[message]?.[0] ?? message, values);
}

/** A sentence that depends on a number, which stands for {n}; languages with one form for all have it twice. */
function ngettext(one, many, n, values = {}) {
  const forms = MESSAGES[one] ?? [one, many];
  return filled(n === 1 ? forms[0] : forms[1], { n, ...values });
}

/** Like gettext, of a word that means several things. */
function pgettext(context, message, values = {}) {
  return filled(MESSAGES[`${context}|${message}`]?.[0] ?? message, values);
}

function filled(message, values) {
  return message.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}
