/* SCRAM-SHA-256 (RFC 5802, RFC 7677) for mosquitto 2: the broker's side of enhanced authentication.
 *
 * Options: plugin_opt_user NAME, plugin_opt_password PASSWORD. It is for tests only: it stores the password
 * in plain text and never frees the exchange of a client. mosquitto refuses a wrong proof with 0x87. */

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>

#define ITERATIONS 4096
#define HASH_SIZE 32
#define MAX_SIZE 512

struct exchange {
    struct mosquitto *client;
    char messages[3 * MAX_SIZE]; /* the AuthMessage, which both sides sign */
    char nonce[2 * MAX_SIZE];
    struct exchange *next;
};

static mosquitto_plugin_id_t *identifier;
static const char *user = "", *password = "";
static unsigned char salt[16], stored_key[HASH_SIZE], server_key[HASH_SIZE];
static struct exchange *exchanges;

static void hmac(const void *key, const char *data, size_t size, unsigned char *out)
{
    unsigned int written;
    HMAC(EVP_sha256(), key, HASH_SIZE, (const unsigned char *)data, size, out, &written);
}

static struct exchange *find(struct mosquitto *client)
{
    struct exchange *e;
    for (e = exchanges; e; e = e->next)
        if (e->client == client)
            return e;
    e = calloc(1, sizeof(*e));
    e->client = client;
    e->next = exchanges;
    return exchanges = e;
}

static void answer(struct mosquitto_evt_extended_auth *event, const char *text)
{
    event->data_out_len = (uint16_t)strlen(text);
    event->data_out = mosquitto_malloc(event->data_out_len);
    memcpy(event->data_out, text, event->data_out_len);
}

/* Handle the client-first-message n,,n=USER,r=NONCE. Answer with the full nonce, salt and iteration count. */
static int start(int kind, void *data, void *unused)
{
    struct mosquitto_evt_extended_auth *event = data;
    char first[MAX_SIZE], reply[2 * MAX_SIZE], coded[32], expected[MAX_SIZE], more[9];
    unsigned char random[4];
    struct exchange *e = find(event->client);
    (void)kind, (void)unused;
    if (strcmp(event->auth_method, "SCRAM-SHA-256"))
        return MOSQ_ERR_NOT_SUPPORTED;
    if (event->data_in_len >= MAX_SIZE)
        return MOSQ_ERR_AUTH;
    memcpy(first, event->data_in, event->data_in_len);
    first[event->data_in_len] = 0;
    snprintf(expected, sizeof expected, "n,,n=%s,r=", user);
    if (strncmp(first, expected, strlen(expected)))
        return MOSQ_ERR_AUTH;
    RAND_bytes(random, sizeof random);
    snprintf(more, sizeof more, "%02x%02x%02x%02x", random[0], random[1], random[2], random[3]);
    snprintf(e->nonce, sizeof e->nonce, "%s%s", first + strlen(expected), more);
    EVP_EncodeBlock((unsigned char *)coded, salt, sizeof salt);
    snprintf(reply, sizeof reply, "r=%s,s=%s,i=%d", e->nonce, coded, ITERATIONS);
    snprintf(e->messages, sizeof e->messages, "%s,%s,", first + 3, reply);
    answer(event, reply);
    return MOSQ_ERR_AUTH_CONTINUE;
}

/* Handle the client-final-message c=biws,r=NONCE,p=PROOF. Answer with the signature of the server. */
static int finish(int kind, void *data, void *unused)
{
    struct mosquitto_evt_extended_auth *event = data;
    char final[2 * MAX_SIZE], expected[3 * MAX_SIZE], reply[MAX_SIZE];
    unsigned char signature[HASH_SIZE], proof[HASH_SIZE + 16], hash[HASH_SIZE], mine[HASH_SIZE];
    struct exchange *e = find(event->client);
    char *p;
    int i;
    (void)kind, (void)unused;
    if (event->data_in_len >= sizeof final)
        return MOSQ_ERR_AUTH;
    memcpy(final, event->data_in, event->data_in_len);
    final[event->data_in_len] = 0;
    p = strstr(final, ",p=");
    snprintf(expected, sizeof expected, "c=biws,r=%s", e->nonce);
    if (!p || strlen(p + 3) != 44)
        return MOSQ_ERR_AUTH;
    *p = 0;
    if (strcmp(final, expected) || EVP_DecodeBlock(proof, (unsigned char *)p + 3, 44) < HASH_SIZE)
        return MOSQ_ERR_AUTH;
    strncat(e->messages, final, sizeof e->messages - strlen(e->messages) - 1);
    hmac(stored_key, e->messages, strlen(e->messages), signature);
    for (i = 0; i < HASH_SIZE; i++)
        proof[i] ^= signature[i];
    EVP_Digest(proof, HASH_SIZE, hash, NULL, EVP_sha256(), NULL);
    if (memcmp(hash, stored_key, HASH_SIZE))
        return MOSQ_ERR_AUTH;
    hmac(server_key, e->messages, strlen(e->messages), mine);
    strcpy(reply, "v=");
    EVP_EncodeBlock((unsigned char *)reply + 2, mine, HASH_SIZE);
    answer(event, reply);
    return MOSQ_ERR_SUCCESS;
}

int mosquitto_plugin_version(int count, const int *versions)
{
    int i;
    for (i = 0; i < count; i++)
        if (versions[i] == 5)
            return 5;
    return -1;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *id, void **data, struct mosquitto_opt *options, int count)
{
    unsigned char salted[HASH_SIZE], key[HASH_SIZE];
    int i;
    (void)data;
    identifier = id;
    for (i = 0; i < count; i++) {
        if (!strcmp(options[i].key, "user"))
            user = options[i].value;
        if (!strcmp(options[i].key, "password"))
            password = options[i].value;
    }
    RAND_bytes(salt, sizeof salt);
    PKCS5_PBKDF2_HMAC(password, (int)strlen(password), salt, sizeof salt, ITERATIONS, EVP_sha256(), HASH_SIZE,
                      salted);
    hmac(salted, "Client Key", 10, key);
    EVP_Digest(key, HASH_SIZE, stored_key, NULL, EVP_sha256(), NULL);
    hmac(salted, "Server Key", 10, server_key);
    mosquitto_callback_register(id, MOSQ_EVT_EXT_AUTH_START, start, NULL, NULL);
    return mosquitto_callback_register(id, MOSQ_EVT_EXT_AUTH_CONTINUE, finish, NULL, NULL);
}

int mosquitto_plugin_cleanup(void *data, struct mosquitto_opt *options, int count)
{
    (void)data, (void)options, (void)count;
    mosquitto_callback_unregister(identifier, MOSQ_EVT_EXT_AUTH_START, start, NULL);
    return mosquitto_callback_unregister(identifier, MOSQ_EVT_EXT_AUTH_CONTINUE, finish, NULL);
}
